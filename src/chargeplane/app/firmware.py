"""Firmware files: taken, checked or signed, offered to stations; updates of single stations, and what stations tell of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from chargeplane.app import pki
from chargeplane.app.addresses import FileAddresses, Transfer
from chargeplane.app.api_keys import Caller
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.commands import Commands
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.commands import UpdateFirmware
from chargeplane.domain.firmware import (
    FIRMWARE_FAILED,
    IDLE,
    INSTALLED,
    PUBLISH_FAILED,
    PUBLISHED,
    FirmwareStatus,
    PublishStatus,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.files import Files, Incoming, StoredFile
from chargeplane.store.queries import charging_stations, station_requests
from chargeplane.store.queries import firmware as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.firmware import FirmwareView, NewFirmware, Offered
from chargeplane.store.queries.paging import Position

KIND: Final = "firmware"
"""Requests of updates, among those of stations."""

Label = Annotated[str, Meta(min_length=1, max_length=50)]


class FirmwareLabels(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is told of a firmware when it is given.

    Args:
        version: what a station's boot says when it runs.
        signing_certificate, signature: the maker's; PEM and Base64.
        sign: by the house, where the maker has not.
    """

    version: Label
    vendor: Label | None = None
    model: Label | None = None
    signing_certificate: Annotated[str, Meta(min_length=1, max_length=5500)] | None = None
    signature: Annotated[str, Meta(min_length=1, max_length=800)] | None = None
    sign: bool = False


class FirmwareOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An update of one station by a firmware of ours.

    Args:
        transfer: how the file travels; null: as suits the station.
        signed: whether signature and certificate go with it; null: where the firmware has them.
    """

    firmware_id: str
    retrieve_at: datetime | None = None
    install_at: datetime | None = None
    retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    retry_interval_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    transfer: Transfer | None = None
    signed: bool | None = None


StatusHeard = Callable[[Place, int | None, str], Awaitable[None]]


class Firmware:
    """Use cases about firmware.

    Args:
        max_bytes: of one file.
    """

    def __init__(
        self,
        database: Database,
        files: Files,
        addresses: FileAddresses,
        authority: HouseAuthority,
        commands: Commands,
        requests: StationRequests,
        *,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._files = files
        self._addresses = addresses
        self._authority = authority
        self._commands = commands
        self._requests = requests
        self._max_bytes = max_bytes
        self.on_status: StatusHeard | None = None
        """Told of every status of an update, with the number it belongs to."""

    # -- files ---------------------------------------------------------------------------------------------------------

    def incoming(self) -> Incoming:
        """A file that is about to be given."""
        return self._files.incoming("firmware", self._max_bytes)

    async def add(self, caller: Caller, name: str, labels: FirmwareLabels, file: StoredFile) -> FirmwareView:
        """Keeps a file as firmware.

        Raises:
            InvalidInputError: the signature is not that of the file; the file is deleted.
        """
        digest = bytes.fromhex(file.sha256)
        try:
            certificate, signature, signed_by = await self._signature(labels, digest)
        except BaseException:
            await self._files.remove(file.path)
            raise
        made = NewFirmware(
            name=name,
            vendor=labels.vendor,
            model=labels.model,
            version=labels.version,
            signing_certificate=certificate,
            signature=signature,
            signed_by=signed_by,
            token=secrets.token_urlsafe(24),
            created_by=caller.actor,
        )
        async with self._database.change() as db:
            ident = await queries.insert(db, caller.tenant_id, made, file)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="firmware",
                ident=str(ident),
                after={"name": name, "version": labels.version, "sha256": file.sha256},
            )
        return await self.one(caller, ident)

    async def _signature(self, labels: FirmwareLabels, digest: bytes) -> tuple[str | None, str | None, str | None]:
        certificate, signature = labels.signing_certificate, labels.signature
        if (certificate is None) != (signature is None):
            missing = "signing_certificate" if certificate is None else "signature"
            sentence = "Signature and signing certificate belong together"
            raise InvalidInputError(f"{sentence}.", ((f"/{missing}", sentence),))
        if certificate is not None and signature is not None:
            if labels.sign:
                sentence = "It is signed by its maker already"
                raise InvalidInputError(f"{sentence}.", (("/sign", sentence),))
            wrong = await asyncio.to_thread(pki.check_signature, certificate, signature, digest, datetime.now(UTC))
            if wrong is not None:
                raise InvalidInputError(wrong, (("/signature", wrong.rstrip(".")),))
            return certificate, signature, "maker"
        if labels.sign:
            return *await self._authority.sign_firmware(digest), "house"
        return None, None, None

    async def page(
        self, caller: Caller, vendor: str | None, model: str | None, limit: int, after: Position | None
    ) -> list[FirmwareView]:
        """Firmware, newest first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.page(db, caller.tenant_id, vendor, model, limit, after)
        return [self._with_url(view, token) for view, token in found]

    async def one(self, caller: Caller, ident: int) -> FirmwareView:
        """A firmware by our id.

        Raises:
            NotFoundError: the tenant has no such firmware.
        """
        return self._with_url(*await self._found(caller.tenant_id, ident))

    async def _found(self, tenant_id: TenantId, ident: int) -> tuple[FirmwareView, str]:
        async with self._database.read() as db:
            found = await queries.one(db, tenant_id, ident)
        if found is None:
            raise NotFoundError("firmware", str(ident))
        return found

    def _with_url(self, view: FirmwareView, token: str) -> FirmwareView:
        transfer = self._addresses.choose(None, None)
        return replace(view, url=self._addresses.firmware(transfer, token, view.name))

    async def delete(self, caller: Caller, ident: int) -> None:
        """Deletes a firmware; its address leads nowhere from then on.

        Raises:
            NotFoundError: the tenant has no such firmware.
            ConflictError: a campaign needs it.
        """
        async with self._database.change() as db:
            found = await queries.one(db, caller.tenant_id, ident)
            if found is None:
                raise NotFoundError("firmware", str(ident))
            if await queries.in_use(db, ident):
                raise ConflictError("A campaign that is not over needs this firmware; cancel it first.")
            path = await queries.delete(db, caller.tenant_id, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="firmware",
                ident=str(ident),
                before={"name": found[0].name, "version": found[0].version, "sha256": found[0].sha256},
            )
        if path is not None:
            await self._files.remove(path)

    async def offered(self, token: str) -> Offered | None:
        """The file of an address; None where there is none."""
        async with self._database.read() as db:
            found = await queries.offered(db, token)
        return None if found is None or await self._files.size(found.file) is None else found

    def read(self, offered: Offered, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a file that is offered."""
        return self._files.read(offered.file, start, length)

    # -- updates -------------------------------------------------------------------------------------------------------

    async def order(
        self, tenant_id: TenantId, key: StationKey, order: FirmwareOrder, request_id: int | None
    ) -> UpdateFirmware:
        """The command that updates a station with a firmware of ours.

        Raises:
            InvalidInputError: there is no such firmware, or no such way for the file.
        """
        try:
            view, token = await self._found(tenant_id, int(order.firmware_id))
        except (NotFoundError, ValueError) as error:
            sentence = f"There is no firmware '{order.firmware_id[:60]}'"
            raise InvalidInputError(f"{sentence}.", (("/firmware_id", sentence),)) from error
        async with self._database.read() as db:
            transfer = self._addresses.choose(await queries.reachable(db, key), order.transfer)
        signed = view.signature is not None if order.signed is None else order.signed
        if signed and view.signature is None:
            sentence = "This firmware is not signed"
            raise InvalidInputError(f"{sentence}.", (("/signed", sentence),))
        return UpdateFirmware(
            location=self._addresses.firmware(transfer, token, view.name),
            retrieve_at=order.retrieve_at,
            install_at=order.install_at,
            retries=order.retries,
            retry_interval_s=order.retry_interval_s,
            signing_certificate=view.signing_certificate if signed else None,
            signature=view.signature if signed else None,
            request_id=request_id,
        )

    async def update(self, caller: Caller, station_id: str, order: FirmwareOrder, *, wait_s: float) -> CommandView:
        """Updates one station.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: there is no such firmware, or no such way for the file.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        command = await self.order(caller.tenant_id, key, order, None)
        return await self._commands.command(caller, station_id, command, wait_s=wait_s)

    # -- what stations tell ----------------------------------------------------------------------------------------------

    async def heard(self, place: Place, report: FirmwareStatus) -> None:
        """A status of an update. 1.6 without signature names no request: it is the one that goes on."""
        number = report.request_id or None
        if number is None:
            async with self._database.read() as db:
                number = await station_requests.goes_on(db, place.key, KIND, place.fact_id, place.received_at)
        if report.status == IDLE and number is None:
            return  # asked by a trigger while nothing goes on
        await self._requests.status(
            place,
            KIND,
            number,
            report.status,
            done=report.status == INSTALLED,
            failed=report.status in FIRMWARE_FAILED,
            detail={} if report.info is None else {"info": report.info},
        )
        if self.on_status is not None:
            await self.on_status(place, number, report.status)

    async def heard_publishing(self, place: Place, report: PublishStatus) -> None:
        """A status of what a local controller publishes."""
        number = report.request_id or None
        if number is None:
            async with self._database.read() as db:
                number = await station_requests.goes_on(
                    db, place.key, "publish_firmware", place.fact_id, place.received_at
                )
        if report.status == IDLE and number is None:
            return
        detail: dict[str, object] = {"locations": list(report.locations)} if report.locations else {}
        if report.info is not None:
            detail["info"] = report.info
        await self._requests.status(
            place,
            "publish_firmware",
            number,
            report.status,
            done=report.status == PUBLISHED,
            failed=report.status in PUBLISH_FAILED,
            detail=detail,
        )
