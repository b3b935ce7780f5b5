"""Public keys of stations' meters, and what signed values of sessions say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.sessions.keeper import read_session
from chargeplane.app.sessions.pricing import prepared
from chargeplane.app.sessions.signed import check
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.ocmf import (
    Curve,
    MeterPublicKey,
    OcmfRecord,
    Verdict,
    public_key_of,
    record_of,
    transparency_file,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TransactionId
from chargeplane.store.database import Database
from chargeplane.store.queries import cdrs as cdr_queries
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import meter_keys as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.meter_keys import CheckedValue, MeterKeyView

_KIND = "meter public key"


class SignedReading(Struct, frozen=True, kw_only=True):
    """A reading in a signed value.

    Args:
        at: by the meter's clock. reason: OCMF's letter. register: OBIS code.
    """

    at: datetime | None
    reason: str | None
    register: str | None
    energy_wh: Decimal | None
    status: str


class SignedValueView(Struct, frozen=True, kw_only=True):
    """A signed meter value.

    Args:
        event: ordinal of the transaction's event it came with.
        data: as received. key_id: that it was verified with.
    """

    event: int
    data: str
    verdict: Verdict
    because: str
    key_id: str | None
    meter_serial: str | None
    readings: list[SignedReading]


class SignedValuesView(Struct, frozen=True, kw_only=True):
    """The signed meter values of a session.

    Args:
        summary: what they prove; null: there are none.
        kept: as verified when the session was settled; else verified for this answer.
    """

    summary: SignedSummary | None
    kept: bool
    values: list[SignedValueView]


class MeterKeys:
    """Use cases about meters' keys and signed values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, caller: Caller, station_id: str) -> list[MeterKeyView]:
        """The keys of a station's meters, the retired ones too; newest first.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._station(caller, station_id)
        async with self._database.read() as db:
            return await queries.of_station(db, key)

    async def register(
        self,
        caller: Caller,
        station_id: str,
        text: str,
        curve: Curve | None,
        ocpp_evse_id: int | None,
        meter_serial: str | None,
    ) -> MeterKeyView:
        """Registers a key; one that the station sent along is trusted from now on.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: the text is no key on a curve of OCMF.
            ConflictError: the EVSE has the key already.
        """
        try:
            public = public_key_of(text, curve)
        except InvalidInputError as error:
            raise InvalidInputError(str(error), (("/public_key", str(error)),)) from None
        key = await self._station(caller, station_id)
        async with self._database.change() as db:
            ident = await queries.register(
                db,
                caller.tenant_id,
                key,
                public,
                ocpp_evse_id=ocpp_evse_id,
                meter_serial=meter_serial,
                source=queries.OPERATOR,
                by=caller.actor,
            )
            if ident is None:
                raise ConflictError(
                    "The key is registered for this EVSE already; retire it first, to register it anew."
                )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="register",
                kind=_KIND,
                ident=str(ident),
                after={"station_id": station_id, "fingerprint": public.fingerprint, "ocpp_evse_id": ocpp_evse_id},
            )
            view = await queries.one(db, key, ident)
        assert view is not None
        return view

    async def retire(self, caller: Caller, station_id: str, ident: int) -> None:
        """Uses a key no more; what was verified with it stays verified.

        Raises:
            NotFoundError: the tenant has no such station, or the station no such key in use.
        """
        key = await self._station(caller, station_id)
        async with self._database.change() as db:
            if not await queries.retire(db, key, ident):
                raise NotFoundError(_KIND, str(ident))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="retire",
                kind=_KIND,
                ident=str(ident),
                before={"station_id": station_id, "retired": False},
                after={"station_id": station_id, "retired": True},
            )

    async def of_session(self, caller: Caller, session_id: int) -> SignedValuesView:
        """The signed values of a session, verified.

        Raises:
            NotFoundError: the tenant has no such session.
        """
        transaction, session, rows = await read_session(self._database, caller.tenant_id, session_id)
        if transaction is None or session is None:
            raise NotFoundError("session", str(session_id))
        async with self._database.read() as db:
            kept = await queries.values_of(db, caller.tenant_id, session_id)
            keys = await queries.in_use(db, transaction.station_key, transaction.evse_id)
            wanted = await queries.settings(db, caller.tenant_id)
        if kept:
            return SignedValuesView(summary=session.signed, kept=True, values=await asyncio.to_thread(_views, kept))
        what = await prepared(transaction, session, rows)
        checked = await asyncio.to_thread(check, what.told, keys, what.energy_wh, trust=wanted.trust_station_keys)
        return SignedValuesView(
            summary=checked.summary, kept=False, values=await asyncio.to_thread(_views, checked.values)
        )

    async def transparency_file(self, caller: Caller, cdr_id: int, *, driver_id: int | None = None) -> bytes:
        """The file that the driver checks a CDR's signed values with.

        Args:
            driver_id: who may; None: the operator.
        Raises:
            NotFoundError: the tenant has no such CDR, or it is another driver's.
            ConflictError: its session has no signed values that can be read.
        """
        async with self._database.read() as db:
            found = await cdr_queries.one(db, caller.tenant_id, cdr_id)
            if found is None or (driver_id is not None and found[0].driver_id != driver_id):
                raise NotFoundError("CDR", str(cdr_id))
            session_id = found[0].session_id
            values = await queries.values_of(db, caller.tenant_id, session_id)
            keys = await queries.keys_by_id(db, [one.key_id for one in values if one.key_id is not None])
        made = await asyncio.to_thread(_file, session_id, values, keys)
        if made is None:
            raise ConflictError(f"The session of CDR {cdr_id} has no signed meter values.")
        return made

    async def _station(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.key_of(db, caller.tenant_id, station_id)
        if key is None:
            raise NotFoundError("charging station", station_id)
        return key


def _views(values: Sequence[CheckedValue]) -> list[SignedValueView]:
    return [_view(one) for one in values]


def _record(value: CheckedValue) -> OcmfRecord | None:
    try:
        return record_of(value.data)
    except InvalidInputError:
        return None


def _view(value: CheckedValue) -> SignedValueView:
    record = _record(value)
    return SignedValueView(
        event=value.ordinal,
        data=value.data,
        verdict=value.verdict,
        because=value.because,
        key_id=None if value.key_id is None else str(value.key_id),
        meter_serial=None if record is None else record.meter_serial,
        readings=[]
        if record is None
        else [
            SignedReading(
                at=one.at,
                reason=None if one.reason is None else one.reason.value,
                register=one.register,
                energy_wh=one.energy_wh,
                status=one.status.value,
            )
            for one in record.readings
        ],
    )


def _file(session_id: TransactionId, values: Sequence[CheckedValue], keys: dict[int, MeterPublicKey]) -> bytes | None:
    records = [(record, one.key or keys.get(one.key_id or 0)) for one in values if (record := _record(one)) is not None]
    return transparency_file(str(session_id), records) if records else None
