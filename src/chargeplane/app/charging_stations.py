"""Charging stations as an operator administers them: registration, credentials, removal.

What a station does while connected is app/stations.py. A change of credentials is in every worker's memory before the
caller gets the answer, so that nobody connects with what was just taken away.
"""

from __future__ import annotations

import contextlib
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.ports import CloseReason
from chargeplane.app.reach import Directory, StationReach
from chargeplane.domain.messages import Registration
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations as queries
from chargeplane.store.queries import credential_changes
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.charging_stations import ChargingStationView, StationFilter, UnknownStationView
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.webhooks import note
from chargeplane.store.secrets import InstallationKeys, make_station_password

PASSWORD_GIVEN: Final = (16, 40)
"""Shortest and longest password that may be given (OCPP 2.0.1 A00.FR.205)."""

PENDING_MOST: Final = 1000
"""Pending stations of a tenant at which no more are registered by themselves: whoever guesses ids fills no table."""

_WITH_PASSWORD = (1, 2)


class StationChanges(Struct, kw_only=True):
    """What a registration sets, or a change changes; UNSET stays as it is.

    Args:
        password: given; None makes a new one; only for security profiles 1 and 2.
    """

    name: str | UnsetType | None = UNSET
    location_id: str | UnsetType | None = UNSET
    security_profile: int | UnsetType = UNSET
    password: str | UnsetType | None = UNSET
    registration: Registration | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


def check_station_id(station_id: str) -> None:
    """Refuses an identity that no station could connect with.

    It is the user name of HTTP Basic, so it has no colon (OCPP-J 2.0.1, 3.1.1), and at most 48 characters.

    Raises:
        InvalidInputError: with the reason.
    """
    sentence = None
    if not 1 <= len(station_id) <= 48:
        sentence = "Must be 1 to 48 characters"
    elif ":" in station_id:
        sentence = "Must not contain a colon: it is the user name of HTTP Basic"
    elif station_id != station_id.strip() or any(unicodedata.category(c)[0] == "C" for c in station_id):
        sentence = "Must not begin or end with a space or hold control characters"
    elif station_id in {".", ".."} or station_id.startswith("/") or station_id.endswith("/") or "//" in station_id:
        sentence = "Must not be '.' or '..', begin or end with a slash, or hold two in a row: it is part of an address"
    if sentence:
        raise InvalidInputError(
            f"'{station_id[:60]}' cannot be a station id: {sentence}.", (("/station_id", sentence),)
        )


class ChargingStations:
    """Use cases about registered charging stations.

    Args:
        database: where they are kept.
        directory: brings credentials to every worker.
        reach: closes sockets.
        keys: hash passwords.
        events: told of every change.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        reach: StationReach,
        keys: InstallationKeys,
        events: EventFeed,
    ) -> None:
        self._database = database
        self._directory = directory
        self._reach = reach
        self._keys = keys
        self._events = events

    async def page(
        self, caller: Caller, wanted: StationFilter, limit: int, after: Position | None
    ) -> list[tuple[StationKey, ChargingStationView]]:
        """Stations with our keys of them, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, station_id: str) -> ChargingStationView:
        """A station.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, station_id)
        if found is None:
            raise NotFoundError("charging station", station_id)
        return found[1]

    async def key_of(self, caller: Caller, station_id: str) -> StationKey:
        """Our key of a station.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await queries.required_key(db, caller.tenant_id, station_id)
        return key

    async def register(
        self, caller: Caller, station_id: str, wanted: StationChanges
    ) -> tuple[ChargingStationView, str | None]:
        """A new station, and its password where one was made here.

        Raises:
            InvalidInputError: an id, profile or password that is not allowed.
            ConflictError: the tenant has a station with this id.
        """
        check_station_id(station_id)
        profile = wanted.security_profile if isinstance(wanted.security_profile, int) else 1
        columns: dict[str, Any] = {"security_profile": profile}
        made = self._set_password(columns, profile, wanted.password, needs_one=True)
        _set_plain(columns, wanted)
        try:
            async with self._database.change() as db:
                key = await queries.insert(db, caller.tenant_id, station_id, columns)
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="create",
                    kind="charging-station",
                    ident=station_id,
                    after=_shown(columns),
                )
                await self._note(db, caller.tenant_id, "charging_station.created", key, station_id)
        except asyncpg.UniqueViolationError:
            raise ConflictError(f"There is a charging station '{station_id}' already.") from None
        await self._directory.refresh(key)
        view = await self.one(caller, station_id)
        self._events.publish("station.created", caller.tenant_id, view.station_id, view)
        return view, made

    async def take_pending(self, tenant_id: TenantId, station_id: str) -> bool:
        """Registers a station that connected without being known, pending and without a password, for an operator to decide.

        Returns:
            False where the tenant has `PENDING_MOST` that wait already.
        Raises:
            InvalidInputError: it cannot be the id of a station.
        """
        async with self._database.read() as db:
            if await queries.pending_count(db, tenant_id, PENDING_MOST) >= PENDING_MOST:
                return False
        policy = Caller(key_id=0, tenant_id=tenant_id, name="unknown stations", scopes=frozenset())
        wanted = StationChanges(security_profile=0, registration=Registration.PENDING)
        with contextlib.suppress(ConflictError):  # another node, or an operator, was first
            await self.register(policy, station_id, wanted)
        return True

    async def change(
        self, caller: Caller, station_id: str, wanted: StationChanges, if_revision: int | None
    ) -> tuple[ChargingStationView, str | None]:
        """The station after the change, and its password where one was made here.

        A change of credentials closes the socket that was opened with the old ones; so does a refused registration.

        Args:
            if_revision: change only this revision.
        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: a profile or password that is not allowed.
            StaleError: the station has another revision.
        """
        columns: dict[str, Any] = {}
        async with self._database.change() as db:
            stored = await queries.locked(db, caller.tenant_id, station_id)
            if stored is None:
                raise NotFoundError("charging station", station_id)
            if if_revision is not None and if_revision != stored.revision:
                raise StaleError(stored.station_id, stored.revision)
            profile = stored.security_profile
            if isinstance(wanted.security_profile, int):
                profile = columns["security_profile"] = wanted.security_profile
            made = self._set_password(columns, profile, wanted.password, needs_one=not stored.has_password)
            _set_plain(columns, wanted)
            if not columns:
                made = None
            else:
                await queries.update(db, stored.key, columns)
                if "password_hash" in columns or profile != stored.security_profile:
                    await credential_changes.supersede(db, stored.key, "The credentials were set by hand.")
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="update",
                    kind="charging-station",
                    ident=stored.station_id,
                    before={"security_profile": stored.security_profile, "registration": stored.registration},
                    after=_shown(columns),
                )
                await self._note(db, caller.tenant_id, "charging_station.updated", stored.key, stored.station_id)
        new_credentials = "password_hash" in columns or profile != stored.security_profile
        new_registration = columns.get("registration", stored.registration) != stored.registration
        if new_credentials or new_registration or "settings" in columns:
            await self._directory.refresh(stored.key)
        if new_credentials:
            await self._reach.close(stored.key, CloseReason.CREDENTIALS_CHANGED)
        elif new_registration and columns["registration"] == Registration.REJECTED:
            await self._reach.close(stored.key, CloseReason.REJECTED)
        view = await self.one(caller, stored.station_id)
        if columns:
            self._events.publish("station.updated", caller.tenant_id, view.station_id, view)
        return view, made

    async def remove(self, caller: Caller, station_id: str) -> None:
        """Removes a station: it may not connect any more, its history stays.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.change() as db:
            stored = await queries.locked(db, caller.tenant_id, station_id)
            if stored is None:
                raise NotFoundError("charging station", station_id)
            await queries.remove(db, stored.key)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="charging-station",
                ident=stored.station_id,
                before={
                    "security_profile": stored.security_profile,
                    "registration": stored.registration,
                    "settings": stored.settings,
                    "metadata": stored.metadata,
                },
            )
            gone = {"station_id": stored.station_id}
            await note(db, caller.tenant_id, "charging_station.deleted", f"charging_station:{stored.key}", gone)
        await self._directory.refresh(stored.key)
        await self._reach.close(stored.key, CloseReason.DELETED)
        self._events.publish("station.deleted", caller.tenant_id, stored.station_id, {"station_id": stored.station_id})

    async def unknown(
        self, caller: Caller, q: str | None, limit: int, after: Position | None
    ) -> list[UnknownStationView]:
        """Stations that tried to connect and are not registered, the newest attempt first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.unknown(db, caller.tenant_id, q, limit, after)

    async def _note(self, db: Db, tenant_id: TenantId, kind: str, key: StationKey, station_id: str) -> None:
        async def view() -> ChargingStationView | None:
            found = await queries.one(db, tenant_id, station_id)
            return None if found is None else found[1]

        await note(db, tenant_id, kind, f"charging_station:{key}", view)

    def _set_password(
        self, columns: dict[str, Any], profile: int, password: str | UnsetType | None, *, needs_one: bool
    ) -> str | None:
        if profile not in _WITH_PASSWORD:
            if isinstance(password, str):
                sentence = f"Security profile {profile} has no password"
                raise InvalidInputError(f"{sentence}; leave it out.", (("/password", sentence),))
            if not needs_one:
                columns |= {"password_salt": None, "password_hash": None, "password_key_id": None}
            return None
        made = None
        if isinstance(password, str):
            check_password(password)
        elif password is None or needs_one:
            password = made = make_station_password()
        else:
            return None
        hashed = self._keys.hash_password(password)
        columns |= {
            "password_salt": hashed.salt,
            "password_hash": hashed.hash,
            "password_key_id": hashed.key_id,
            "password_set_at": datetime.now(UTC),
        }
        return made


class StaleError(ConflictError):
    """The object was changed since the caller read it."""

    def __init__(self, ident: str, revision: int) -> None:
        super().__init__(f"'{ident}' was changed meanwhile: its ETag is now \"{revision}\". Read it again.")
        self.revision = revision


def check_password(password: str) -> None:
    """Refuses a password that no station may be given.

    Raises:
        InvalidInputError: with the reason.
    """
    shortest, longest = PASSWORD_GIVEN
    sentence = None
    if not shortest <= len(password) <= longest:
        sentence = f"Must be {shortest} to {longest} characters"
    elif any(unicodedata.category(c)[0] == "C" for c in password):
        sentence = "Must not hold control characters"
    if sentence:
        raise InvalidInputError(f"The password is not allowed: {sentence}.", (("/password", sentence),))


def _set_plain(columns: dict[str, Any], wanted: StationChanges) -> None:
    for name in ("name", "location_id", "settings", "metadata"):
        value = getattr(wanted, name)
        if value is not UNSET:
            columns[name] = value
    if isinstance(wanted.registration, Registration):
        columns["registration"] = str(wanted.registration)


def _shown(columns: dict[str, Any]) -> dict[str, Any]:
    """What the audit log may hold of a change: that a password was set, not which."""
    shown = {name: value for name, value in columns.items() if not name.startswith("password_")}
    if columns.get("password_hash"):
        shown["password"] = "set"  # noqa: S105
    return shown
