"""Configuration templates: what stations of a kind are to have, how far they are from it, and how they get there.

How a station stands is computed from what it told: after a boot, a report, an answer, a change, and from time to time for all. Where a
template applies itself, its next stations are chosen under a lock of its row, as many as its waves have room for, so that two nodes never
choose the same; the changes themselves are `variable_changes`. Refused values are not tried again before the template, or the
station's firmware, is another, or an operator asks for it. A row of failures pauses a template and raises an alert.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec
import structlog
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.after_boot import AfterBoot
from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.device_model import DeviceModel
from chargeplane.app.events import EventFeed
from chargeplane.app.variable_changes import VariableChanges
from chargeplane.domain.alerts import Severity
from chargeplane.domain.configuration import (
    ApplyPolicy,
    ChangeItem,
    ItemState,
    ResetPolicy,
    Selector,
    Standing,
    StandingState,
    attempt_of,
    overall,
    stand,
    to_apply,
    winners,
)
from chargeplane.domain.variables import (
    HIDDEN,
    VariableName,
    VariableSetting,
    canonical,
    folded,
    is_secret,
    shown,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, variables
from chargeplane.store.queries import configuration as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.configuration import (
    DriftView,
    StoredTemplate,
    TemplateVersionView,
    TemplateView,
)
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.variable_changes import Claimed
from chargeplane.store.secrets import InstallationKeys

log = structlog.get_logger(__name__)

_KIND: Final = "configuration template"
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
)
_PAGE: Final = 500
_BY: Final = "configuration templates"


class ConfigurationSettings(Struct, frozen=True, kw_only=True):
    """How templates are worked with.

    Args:
        tick_s: how often it is looked whether a template has something to do, unless something happened.
        check_every_s: how often all stations of a template are gone through.
        ask_again_s: a station that was not asked for so long is asked for the values of its templates.
        retry_s: wait after the first failed change of a station; doubled with every further one, up to a day.
    """

    tick_s: float = 5.0
    check_every_s: float = 900.0
    ask_again_s: float = 86_400.0
    retry_s: float = 300.0


class TemplateChanges(Struct, kw_only=True):
    """What a new template has, or a change changes; UNSET stays as it is.

    Args:
        variables: all of them; another list makes another version.
        note: about that version.
        paused: True stops it from applying itself; False lets it, and forgets its failures.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    selector: Selector | UnsetType = UNSET
    variables: Sequence[VariableSetting] | UnsetType = UNSET
    note: str | None = None
    priority: int | UnsetType = UNSET
    apply: ApplyPolicy | UnsetType = UNSET
    wave_size: int | UnsetType = UNSET
    reset: ResetPolicy | UnsetType = UNSET
    stop_after: int | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class Configuration:
    """Use cases about templates, and the worker that checks and applies them.

    Args:
        keys: encrypt passwords among the wanted values.
    """

    def __init__(
        self,
        database: Database,
        model: DeviceModel,
        changes: VariableChanges,
        after_boot: AfterBoot,
        alerts: Alerts,
        keys: InstallationKeys,
        events: EventFeed,
        settings: ConfigurationSettings,
    ) -> None:
        self._database = database
        self._model = model
        self._changes = changes
        self._after_boot = after_boot
        self._alerts = alerts
        self._keys = keys
        self._events = events
        self._settings = settings
        self._dirty: dict[StationKey, TenantId] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        model.on_changed.append(self._told)
        after_boot.needed = self.needed
        after_boot.on_read = self._read
        changes.on_ended = self._ended
        changes.on_free = self._wake.set

    async def start(self) -> None:
        """Begins to check and to apply."""
        self._tasks = [
            asyncio.create_task(self._look(), name="configuration-check"),
            asyncio.create_task(self._go_through(), name="configuration-round"),
        ]

    async def stop(self) -> None:
        """Ends that; what was begun goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- templates -----------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, wanted: TemplateChanges) -> TemplateView:
        """A new template.

        Raises:
            InvalidInputError: a selector that chooses nothing, or a variable named twice.
            ConflictError: the tenant has a template of this name.
        """
        assert isinstance(wanted.name, str)
        assert not isinstance(wanted.variables, UnsetType)
        columns = _columns(wanted)
        settings, sealed = self._sealed(caller.tenant_id, wanted.variables, None)
        try:
            async with self._database.change() as db:
                ident = await queries.insert(db, caller.tenant_id, columns)
                await queries.add_version(db, ident, 1, settings, sealed, wanted.note, caller.actor)
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="create",
                    kind="configuration-template",
                    ident=str(ident),
                    after=msgspec.to_builtins(columns),
                )
        except asyncpg.UniqueViolationError:
            raise ConflictError(f"There is a configuration template '{wanted.name}' already.") from None
        self._wake.set()
        return await self._shown(caller, ident)

    async def change(
        self, caller: Caller, ident: int, wanted: TemplateChanges, if_revision: int | None
    ) -> TemplateView:
        """The template after a change.

        Raises:
            NotFoundError, InvalidInputError, ConflictError: as in `create`.
            StaleError: it has another revision.
        """
        columns = _columns(wanted)
        try:
            async with self._database.change() as db:
                stored = await queries.locked(db, caller.tenant_id, ident)
                if stored is None:
                    raise NotFoundError(_KIND, str(ident))
                if if_revision is not None and if_revision != stored.revision:
                    raise StaleError(stored.name, stored.revision)
                if not isinstance(wanted.variables, UnsetType):
                    settings, sealed = self._sealed(caller.tenant_id, wanted.variables, stored)
                    if settings != stored.variables or sealed is not None:
                        columns["version"] = stored.version + 1
                        await queries.add_version(
                            db, ident, stored.version + 1, settings, sealed, wanted.note, caller.actor
                        )
                if columns:
                    await queries.update(db, ident, columns)
                    await queries.check_soon(db, ident)
                    await audit(
                        db,
                        caller.tenant_id,
                        actor=caller.actor,
                        action="update",
                        kind="configuration-template",
                        ident=str(ident),
                        before=msgspec.to_builtins({name: getattr(stored, name, None) for name in columns}),
                        after=msgspec.to_builtins(columns),
                    )
                if wanted.paused is False:
                    await self._alerts.clear(
                        db,
                        caller.tenant_id,
                        None,
                        kind="configuration_paused",
                        ident=str(ident),
                        because=f"Resumed by {caller.actor}.",
                    )
        except asyncpg.UniqueViolationError:
            raise ConflictError(f"There is a configuration template '{wanted.name}' already.") from None
        self._wake.set()
        return await self._shown(caller, ident)

    async def remove(self, caller: Caller, ident: int) -> None:
        """Removes a template; what it changed stays as it is.

        Raises:
            NotFoundError: the tenant has no such template.
        """
        async with self._database.change() as db:
            stored = await queries.locked(db, caller.tenant_id, ident)
            if stored is None:
                raise NotFoundError(_KIND, str(ident))
            await queries.remove(db, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="configuration-template",
                ident=str(ident),
                before={"name": stored.name, "version": stored.version},
            )
        self._events.publish("configuration-template.deleted", caller.tenant_id, None, {"id": str(ident)})

    async def apply(self, caller: Caller, ident: int, station_ids: Sequence[str] | None) -> TemplateView:
        """Has a template applied now: at all of its stations that are not in sync, or some; what was refused is tried again.

        Raises:
            NotFoundError: the tenant has no such template, or a station is not one of its.
        """
        await self.check(caller, ident)
        async with self._database.change() as db:
            found = await queries.want(db, ident, station_ids)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="apply",
                kind="configuration-template",
                ident=str(ident),
                after={"station_ids": None if station_ids is None else list(station_ids), "stations": found},
            )
        self._wake.set()
        return await self._shown(caller, ident)

    async def check(self, caller: Caller, ident: int) -> TemplateView:
        """Goes through all stations of a template now, by what they told.

        Raises:
            NotFoundError: the tenant has no such template.
        """
        async with self._database.change() as db:
            stored = await queries.locked(db, caller.tenant_id, ident)
        if stored is None:
            raise NotFoundError(_KIND, str(ident))
        await self._all_of(stored)
        return await self._shown(caller, ident)

    async def one(self, caller: Caller, ident: int) -> TemplateView:
        """A template by our id.

        Raises:
            NotFoundError: the tenant has no such template.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def page(self, caller: Caller, q: str | None, limit: int, after: Position | None) -> list[TemplateView]:
        """Templates, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, q, limit, after)

    async def versions(
        self, caller: Caller, ident: int, limit: int, after: Position | None
    ) -> list[TemplateVersionView]:
        """A template's versions, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such template.
        """
        await self.one(caller, ident)
        async with self._database.read() as db:
            return await queries.versions(db, ident, limit, after)

    async def stations(
        self, caller: Caller, ident: int, state: StandingState | None, limit: int, after: Position | None
    ) -> list[tuple[StationKey, DriftView]]:
        """How a template's stations stand, with our keys of them; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such template.
        """
        await self.one(caller, ident)
        async with self._database.read() as db:
            return await queries.drift_of_template(db, ident, state and state.value, limit, after)

    async def of_station(self, caller: Caller, station_id: str) -> list[DriftView]:
        """How a station stands to its templates.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await queries.drift_of_station(db, key)

    async def _shown(self, caller: Caller, ident: int) -> TemplateView:
        view = await self.one(caller, ident)
        self._events.publish("configuration-template.updated", caller.tenant_id, None, view)
        return view

    def _sealed(
        self, tenant_id: TenantId, wanted: Sequence[VariableSetting], stored: StoredTemplate | None
    ) -> tuple[tuple[VariableSetting, ...], bytes | None]:
        """The settings as they are stored, and their secrets. A value that is given hidden keeps the one that was."""
        kept = {} if stored is None else self._secrets(stored)
        secrets: dict[str, str] = {}
        settings: list[VariableSetting] = []
        seen: dict[Any, int] = {}
        for number, setting in enumerate(wanted):
            name = canonical(setting.name)
            place = folded(name.place)
            if place in seen:
                sentence = f"{name} is there twice"
                raise InvalidInputError(f"{sentence}.", ((f"/variables/{number}", sentence),))
            seen[place] = number
            value = setting.value
            if is_secret(name.component or "", name.variable):
                mark = shown(place)
                secrets[mark] = kept.get(mark, value) if value == HIDDEN else value
                value = HIDDEN
            settings.append(VariableSetting(**{**msgspec.structs.asdict(name), "value": value}))
        if not secrets:
            return tuple(settings), None
        if stored is not None and secrets == kept and tuple(settings) == stored.variables:
            return tuple(settings), None
        return tuple(settings), self._keys.encrypt(msgspec.json.encode(secrets), _purpose(tenant_id))

    def _secrets(self, stored: StoredTemplate) -> dict[str, str]:
        if stored.sealed is None:
            return {}
        opened = self._keys.decrypt(stored.sealed, _purpose(stored.tenant_id))
        return msgspec.json.decode(opened, type=dict[str, str])

    # -- how stations stand --------------------------------------------------------------------------------------------

    async def needed(self, tenant_id: TenantId, key: StationKey) -> list[VariableName]:
        """The variables that the templates of a station are about, where they can be read."""
        names: dict[Any, VariableName] = {}
        async with self._database.read() as db:
            for template in await queries.of_tenant(db, tenant_id):
                if await queries.selects(db, key, template.selector):
                    for setting in template.variables:
                        name = canonical(setting.name)
                        if not is_secret(name.component or "", name.variable):
                            names.setdefault(folded(name.place), name)
        return list(names.values())

    async def _told(self, tenant_id: TenantId, key: StationKey) -> None:
        self._dirty[key] = tenant_id
        self._wake.set()

    async def _read(self, tenant_id: TenantId, key: StationKey) -> None:
        await self._station(tenant_id, key, asked=True)
        self._wake.set()

    async def _station(
        self,
        tenant_id: TenantId,
        key: StationKey,
        *,
        asked: bool = False,
        attempt: tuple[int, int, Mapping[Any, ChangeItem]] | None = None,
    ) -> None:
        """Computes how a station stands to all templates that are for it.

        Args:
            asked: the station was asked for the values just now.
            attempt: template, version and items by folded place of a change that has ended.
        """
        published: list[tuple[StoredTemplate, StandingState]] = []
        async with self._database.change() as db:
            templates = await queries.of_tenant(db, tenant_id)
            if not templates:
                return
            mine = [one for one in templates if await queries.selects(db, key, one.selector)]
            before = await queries.known(db, key)
            gone = [ident for ident in before if ident not in {one.id for one in mine}]
            if gone:
                await queries.drop(db, key, gone)
            if mine:
                published = await self._compute(db, key, mine, before, asked=asked, attempt=attempt)
        for template, state in published:
            await self._publish(tenant_id, key, template, state)

    async def _compute(
        self,
        db: Db,
        key: StationKey,
        templates: Sequence[StoredTemplate],
        before: Mapping[int, queries.KnownDrift],
        *,
        asked: bool,
        attempt: tuple[int, int, Mapping[Any, ChangeItem]] | None,
    ) -> list[tuple[StoredTemplate, StandingState]]:
        firmware = await queries.firmware_of(db, key)
        wishes = [template.wish for template in templates]
        won = winners(wishes)
        told = await variables.told(db, key, {name.variable for wish in wishes for name in wish.variables})
        changed: list[tuple[StoredTemplate, StandingState]] = []
        for template, wish in zip(templates, wishes, strict=True):
            known = before.get(template.id)
            earlier = {} if known is None else {folded(one.place): one for one in known.variables}
            if attempt is not None and attempt[:2] == (template.id, template.version):
                earlier = _after(earlier, attempt[2], attempt_of(template.version, firmware))
            standings = stand(wish, won, told, earlier, firmware)
            state = overall(standings)
            was_asked = asked or (
                known is not None and known.version == template.version and known.asked_at is not None
            )
            await queries.put(
                db,
                template,
                key,
                state,
                standings,
                to_apply=bool(to_apply(standings, asked=was_asked)),
                asked=asked,
            )
            if known is None or known.state != state.value:
                changed.append((template, state))
        return changed

    async def _publish(
        self, tenant_id: TenantId, key: StationKey, template: StoredTemplate, state: StandingState
    ) -> None:
        if not self._events.active:
            return
        async with self._database.read() as db:
            views = await queries.drift_of_station(db, key)
        for view in views:
            if view.template_id == str(template.id):
                self._events.publish("configuration.drift", tenant_id, view.station_id, view)

    async def _all_of(self, template: StoredTemplate) -> None:
        """Goes through the stations of a template by what they told."""
        after: StationKey | None = None
        while True:
            async with self._database.read() as db:
                keys = await queries.stations_of(db, template.tenant_id, template.selector, after=after, limit=_PAGE)
            for key in keys:
                await self._station(template.tenant_id, key)
            if len(keys) < _PAGE:
                break
            after = keys[-1]
        await self._leavers(template)

    async def _leavers(self, template: StoredTemplate) -> None:
        """Forgets stations that a template is not for any more."""
        after: Position | None = None
        while True:
            async with self._database.read() as db:
                found = await queries.drift_of_template(db, template.id, None, _PAGE, after)
                left = [key for key, _ in found if not await queries.selects(db, key, template.selector)]
            for key in left:
                async with self._database.change() as db:
                    await queries.drop(db, key, [template.id])
            if len(found) < _PAGE:
                return
            after = Position(queries.DRIFT_SORTS.place_of(found[-1], None))

    # -- the worker ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Computes what has changed, and begins what is to be done."""
        while True:
            self._wake.clear()
            try:
                while self._dirty:
                    key, tenant_id = self._dirty.popitem()
                    await self._station(tenant_id, key)
                async with self._database.read() as db:
                    templates = await queries.to_work_on(db)
                for ident in templates:
                    await self._begin(ident)
            except _AWAY as error:
                log.warning("configuration_delayed", error=str(error))
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("configuration_failed")
                await asyncio.sleep(1.0)
            if not self._dirty:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.tick_s * random.uniform(0.75, 1.25)):
                        await self._wake.wait()

    async def _begin(self, ident: int) -> None:
        """Begins to change the next stations of a template, as many as its wave has room for."""
        begun = False
        async with self._database.change() as db:
            template = await queries.taken(db, ident)
            if template is None:
                return
            room = template.wave_size - await queries.applying(db, ident)
            if room <= 0:
                return
            secrets = self._secrets(template)
            wanted = {folded(canonical(one.name).place): one for one in template.variables}
            for one in await queries.candidates(db, template, room):
                chosen = to_apply(one.variables, asked=one.asked, again=one.wanted)
                settings = [_setting(wanted, secrets, each) for each in chosen if folded(each.place) in wanted]
                await queries.attempted(db, ident, one.station_key, self._settings.retry_s)
                if settings:
                    await self._changes.put(
                        db,
                        template.tenant_id,
                        one.station_key,
                        settings,
                        by=f"policy: {_BY}",
                        reset=ResetPolicy(template.reset),
                        template=(template.id, template.version),
                    )
                    begun = True
        if begun:
            self._changes.look()

    async def _ended(self, change: Claimed, items: Sequence[ChangeItem]) -> None:
        """A change has ended: the station stands anew, and failures in a row pause the template."""
        attempt = None
        if change.template_id is not None and change.template_version is not None:
            by_place = {folded(item.place): item for item in items}
            attempt = (change.template_id, change.template_version, by_place)
        await self._station(change.tenant_id, change.station_key, attempt=attempt)
        if change.template_id is not None:
            failed = any(item.state in (ItemState.REJECTED, ItemState.MISMATCH, ItemState.FAILED) for item in items)
            await self._count(change, failed)

    async def _count(self, change: Claimed, failed: bool) -> None:
        assert change.template_id is not None
        async with self._database.change() as db:
            counted = await queries.count_failure(db, change.template_id, failed)
            if counted is None or not failed or counted[2] or counted[0] < counted[1]:
                return
            because = f"{counted[0]} stations in a row could not be changed; the last was '{change.station_id}'."
            await queries.pause(db, change.template_id, because)
            await self._alerts.raise_alert(
                db,
                change.tenant_id,
                None,
                kind="configuration_paused",
                severity=Severity.WARNING,
                title=f"A configuration template was paused: {because}",
                ident=str(change.template_id),
                details={"template_id": str(change.template_id), "variable_change_id": str(change.id)},
            )
        log.warning("configuration_paused", template=change.template_id, because=because)

    async def _go_through(self) -> None:
        """From time to time: all stations of each template, and those that were not asked for long are asked."""
        settings = self._settings
        while True:
            try:
                async with self._database.change() as db:
                    template = await queries.due_for_check(db, settings.check_every_s)
                if template is not None:
                    await self._all_of(template)
                    async with self._database.read() as db:
                        stale = await queries.stale(db, template.id, settings.ask_again_s, _PAGE)
                    for key in stale:
                        self._after_boot.booted(key)
                    self._wake.set()
                    continue
            except _AWAY:
                pass
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("configuration_round_failed")
            pause = min(settings.tick_s, settings.check_every_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))


def _purpose(tenant_id: TenantId) -> str:
    return f"configuration templates of tenant {tenant_id}"


def _setting(wanted: Mapping[Any, VariableSetting], secrets: Mapping[str, str], standing: Standing) -> VariableSetting:
    place = folded(standing.place)
    setting = wanted[place]
    secret = secrets.get(shown(place))
    return setting if secret is None else msgspec.structs.replace(setting, value=secret)


_WORDS: Final = {
    ItemState.APPLIED: "Accepted",
    ItemState.ACCEPTED: "Accepted",
    ItemState.REBOOT_REQUIRED: "RebootRequired",
}


def _after(earlier: Mapping[Any, Standing], items: Mapping[Any, ChangeItem], attempt: str) -> dict[Any, Standing]:
    """What was known, with what a change has found out."""
    known = dict(earlier)
    for place, item in items.items():
        before = known.get(place)
        if before is None or item.state in (ItemState.PENDING, ItemState.SETTING, ItemState.CANCELLED):
            continue
        status = _WORDS.get(item.state, item.status)
        known[place] = msgspec.structs.replace(before, status=status, reason=item.reason, tried=attempt)
    return known


def _columns(wanted: TemplateChanges) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in ("name", "description", "priority", "wave_size", "stop_after"):
        value = getattr(wanted, name)
        if value is not UNSET:
            columns[name] = value
    for name in ("apply", "reset"):
        value = getattr(wanted, name)
        if value is not UNSET:
            columns[name] = value.value
    if isinstance(wanted.selector, Selector):
        if not wanted.selector.chooses:
            sentence = "Name at least one field, or say every: true"
            raise InvalidInputError(f"The selector chooses no station: {sentence}.", (("/selector", sentence),))
        columns["selector"] = wanted.selector
    if wanted.paused is True:
        columns["paused_because"] = "Paused by an operator."
    elif wanted.paused is False:
        columns |= {"paused_because": None, "failures": 0}
    return columns
