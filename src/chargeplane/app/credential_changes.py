"""Passwords and security profiles of stations, changed in stages (OCPP 2.0.1 A01, A05; 1.6 security whitepaper).

Why a station cannot be locked out stands in `domain/credential_changes`. Here it is carried out: a change is a row that says how far it
is, so any node goes on with it after a crash. A node takes the changes that are due under a lease and does the next step; what a station
did is seen by how it comes in, on whichever node that is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import structlog

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import check_password
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.ports import CloseReason, Proof, StationCredentials
from chargeplane.app.reach import Directory, StationReach
from chargeplane.app.security_events import SecurityEvents
from chargeplane.domain.certificates import CertificateUse
from chargeplane.domain.commands import (
    CallOutcomeKind,
    Command,
    CommandOutcome,
    CommandState,
    InstallCertificate,
    Reset,
    SetPassword,
    Trigger,
)
from chargeplane.domain.commands.variables import GetVariables, SetNetworkProfile, SetVariables, VariableAnswers
from chargeplane.domain.credential_changes import (
    ENDED,
    MOST_ATTEMPTS,
    ChangeKind,
    ChangeState,
    NextStep,
    Standing,
    after_return,
    stays_good,
)
from chargeplane.domain.security_events import ServerEvent
from chargeplane.domain.variables import VariableName, VariableSetting
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError, UnavailableError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import certificates, charging_stations
from chargeplane.store.queries import credential_changes as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.credential_changes import Change, CredentialChangeView, Plan
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.secrets import InstallationKeys, PasswordHash, make_station_password

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 20
_LONGEST_WAIT_S: Final = 5.0
_NOT_THERE_S: Final = 20.0
_CALL_S: Final = 30.0
_BEGIN_WITHIN: Final = timedelta(days=1)
_LOCALLY_WITHIN: Final = timedelta(days=30)
_WARN_AFTER: Final = timedelta(days=1)
_CERTIFICATE_AGAIN: Final = timedelta(minutes=10)
_ROTATED_A_ROUND: Final = 50

_PRIORITY: Final = VariableName(component="OCPPCommCtrlr", variable="NetworkConfigurationPriority")
_SURE_REFUSALS: Final = frozenset({"NotSupported", "NotImplemented", "SecurityError"})


class NotYetError(Exception):
    """Something must be there before the change can go on; the sentence is the step that waits."""


class CredentialChanges:
    """Use cases about changes of credentials, and the worker that carries them out.

    Args:
        directory: brings what is good at the door to every node.
        reconnect_wait_s: how long a station may take to come back by itself, until it is asked to.
        rotate_days: passwords older than that are changed; 0: none by themselves.
        rotation_period_s: how often passwords are looked at that are too old.
        roots: tells the root that leads to this server's certificate.
        station_url: where stations reach this server by TLS, without their identities; None where it is not known.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        reach: StationReach,
        commands: Commands,
        keys: InstallationKeys,
        security_events: SecurityEvents,
        alerts: Alerts,
        events: EventFeed,
        *,
        reconnect_wait_s: float = 30.0,
        rotate_days: int = 0,
        station_url: str | None = None,
        roots: Callable[[], Awaitable[str | None]] | None = None,
        rotation_period_s: float = 300.0,
    ) -> None:
        self._database = database
        self._directory = directory
        self._reach = reach
        self._commands = commands
        self._keys = keys
        self._log = security_events
        self._alerts = alerts
        self._events = events
        self._wait_s = reconnect_wait_s
        self._rotate_days = rotate_days
        self._station_url = station_url
        self._roots = roots
        self._rotation_period_s = rotation_period_s
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._doors: dict[int, asyncio.Event] = {}

    async def start(self) -> None:
        """Takes up what is under way, and rotates old passwords where that is the policy."""
        await self._reseal()
        self._spawn(self._work())
        if self._rotate_days:
            self._spawn(self._rotate())

    async def stop(self) -> None:
        """Lets go of what is under way; it is taken up at the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what people ask for -------------------------------------------------------------------------------------------

    async def rotate_password(self, caller: Caller, station_id: str, password: str | None) -> CredentialChangeView:
        """Begins to give the station another password; a random one, which nobody else ever sees, unless given.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: a password that is not allowed.
            ConflictError: it has no password, or a change is under way.
        """
        if password is not None:
            check_password(password)
        async with self._database.change() as db:
            stored = await charging_stations.locked(db, caller.tenant_id, station_id)
            if stored is None:
                raise NotFoundError("charging station", station_id)
            if stored.security_profile not in (1, 2):
                raise ConflictError(
                    f"'{stored.station_id}' has security profile {stored.security_profile}: no password."
                )
            ident = await self._insert(
                db,
                caller,
                stored.key,
                kind=ChangeKind.PASSWORD,
                from_profile=stored.security_profile,
                security_profile=None,
                password=password or make_station_password(),
                plan=Plan(),
                valid=_BEGIN_WITHIN,
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="rotate password",
                kind="charging-station",
                ident=stored.station_id,
            )
        return await self._begun(caller, stored.key, ident)

    async def change_profile(
        self,
        caller: Caller,
        station_id: str,
        profile: int,
        *,
        password: str | None = None,
        url: str | None = None,
        root: str | None = None,
        slot: int | None = None,
        interface: str = "Wired0",
        force: bool = False,
    ) -> CredentialChangeView:
        """Begins to bring the station to another security profile.

        Args:
            password: for a profile with one, where the station has none; a random one unless given.
            url: where the station reaches this server by the new profile, without its identity.
            root: PEM that leads to this server's certificate; the house's where the house made that.
            slot: of the new connection profile (2.x).
            force: to a less secure one. OCPP must not be used for that (A00.FR.005; 2.1 allows 3 to 2, A05.FR.08), so the
                station is let in by both until a person has set it there.
        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: something that does not fit the profile.
            ConflictError: it has the profile, a change is under way, or the profile is lower and not forced.
        """
        if password is not None:
            check_password(password)
        version = await self._version(caller, station_id)
        async with self._database.change() as db:
            stored = await charging_stations.locked(db, caller.tenant_id, station_id)
            if stored is None:
                raise NotFoundError("charging station", station_id)
            old = stored.security_profile
            if profile == old:
                raise ConflictError(f"'{stored.station_id}' has security profile {profile} already.")
            if profile < old and not force:
                raise ConflictError(
                    f"Security profile {profile} is less secure than {old}, which OCPP must not be used for (A00.FR.005). With"
                    " force the station is let in by both until somebody has set it there."
                )
            told = profile > old or (old == 3 and profile == 2 and version == "2.1")
            needs_password = profile in (1, 2) and not stored.has_password
            if password is not None and profile not in (1, 2):
                sentence = f"Security profile {profile} has no password"
                raise InvalidInputError(f"{sentence}.", (("/password", sentence),))
            if not told and needs_password and password is None:
                sentence = "Give the password that somebody sets at the station"
                raise InvalidInputError(f"{sentence}.", (("/password", sentence),))
            secret = (password or make_station_password()) if needs_password or password is not None else None
            where = url or self._station_url
            if told and profile >= 2 and version != "1.6" and where is None:
                sentence = "Where the station reaches this server by TLS is not known: give the address, as wss://HOST:PORT/ocpp"
                raise InvalidInputError(f"{sentence}.", (("/url", sentence),))
            if profile >= 2 and where is not None and not where.startswith("wss:"):
                raise InvalidInputError("The address must begin with wss:.", (("/url", "wss://HOST:PORT/ocpp"),))
            if told and profile >= 2 and old < 2 and root is None and self._roots is not None:
                root = await self._roots()
            ident = await self._insert(
                db,
                caller,
                stored.key,
                kind=ChangeKind.PROFILE,
                from_profile=old,
                security_profile=profile,
                password=secret,
                plan=Plan(told=told, url=where, interface=interface, slot=slot, root=root),
                valid=_BEGIN_WITHIN if told else _LOCALLY_WITHIN,
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="change security profile",
                kind="charging-station",
                ident=stored.station_id,
                before={"security_profile": old},
                after={"security_profile": profile, "forced": force},
            )
        return await self._begun(caller, stored.key, ident)

    async def cancel(self, caller: Caller, kind: ChangeKind, ident: int) -> CredentialChangeView:
        """Ends a change that waits.

        Raises:
            NotFoundError: the tenant has no such change.
            ConflictError: the station has heard of it.
        """
        view = await self.one(caller, kind, ident)
        async with self._database.change() as db:
            change = await queries.locked(db, ident)
            if change is None or change.state is not ChangeState.WAITING:
                raise ConflictError(f"It is {view.state}: only one that waits can be cancelled.")
            good = stays_good(ChangeState.CANCELLED, agreed=change.agreed_at is not None, attempts=change.attempts)
            await queries.end(db, ident, ChangeState.CANCELLED, f"Cancelled by {caller.actor}.", stays_good=good)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="cancel",
                kind=kind.value,
                ident=str(ident),
                before={"state": view.state},
                after={"state": ChangeState.CANCELLED.value},
            )
        await self._directory.refresh(change.station_key)
        await self._show(change)
        return await self.one(caller, kind, ident)

    async def page(
        self, caller: Caller, station_id: str, kind: ChangeKind, state: str | None, limit: int, after: Position | None
    ) -> list[CredentialChangeView]:
        """A station's changes of a kind, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await queries.page(db, caller.tenant_id, key, kind, state, limit, after)

    async def one(self, caller: Caller, kind: ChangeKind, ident: int) -> CredentialChangeView:
        """A change by our id.

        Raises:
            NotFoundError: the tenant has no such change of this kind.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None or found.kind != kind.value:
            raise NotFoundError(
                "password rotation" if kind is ChangeKind.PASSWORD else "change of security profile", str(ident)
            )
        if found.finished_at is not None and (door := self._doors.get(ident)) is not None:
            await door.wait()
        return found

    @contextlib.contextmanager
    def _ending(self, ident: int) -> Iterator[None]:
        """Around a commit that may end a change and the doors' hearing of it: who asks meanwhile is told of the end when doors follow it."""
        door = self._doors.setdefault(ident, asyncio.Event())
        try:
            yield
        finally:
            door.set()
            if self._doors.get(ident) is door:
                del self._doors[ident]

    async def _version(self, caller: Caller, station_id: str) -> str | None:
        async with self._database.read() as db:
            found = await charging_stations.one(db, caller.tenant_id, station_id)
        return None if found is None else found[1].ocpp_version

    async def _insert(
        self,
        db: Db,
        caller: Caller,
        key: StationKey,
        *,
        kind: ChangeKind,
        from_profile: int,
        security_profile: int | None,
        password: str | None,
        plan: Plan,
        valid: timedelta,
    ) -> int:
        hashed: PasswordHash | None = None if password is None else self._keys.hash_password(password)
        try:
            return await queries.insert(
                db,
                caller.tenant_id,
                key,
                kind=kind,
                from_profile=from_profile,
                security_profile=security_profile,
                password=None if hashed is None else (hashed.salt, hashed.hash, hashed.key_id),
                sealed=None if password is None else self._keys.encrypt(password.encode(), _purpose(key)),
                plan=plan,
                requested_by=caller.actor,
                expires_at=datetime.now(UTC) + valid,
            )
        except asyncpg.UniqueViolationError:
            raise ConflictError("A change of this station's credentials is under way already.") from None

    async def _begun(self, caller: Caller, key: StationKey, ident: int) -> CredentialChangeView:
        await self._directory.refresh(key)
        self._wake.set()
        async with self._database.read() as db:
            view = await queries.one(db, caller.tenant_id, ident)
        assert view is not None
        self._publish(caller.tenant_id, view)
        return view

    # -- how stations come in ------------------------------------------------------------------------------------------

    def came_in(self, credentials: StationCredentials, proof: Proof) -> None:
        """A station came in while something was being changed. Never waits."""
        self._spawn(self._came_in(credentials.key, proof))

    async def _came_in(self, key: StationKey, proof: Proof) -> None:
        while True:
            try:
                await self._judge_return(key, proof)
                return
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("station_return_not_judged", station_key=key)
                    return
            await asyncio.sleep(1.0)

    async def _judge_return(self, key: StationKey, proof: Proof) -> None:
        with contextlib.ExitStack() as ending:
            await self._judge_by(key, proof, ending)

    async def _judge_by(self, key: StationKey, proof: Proof, ending: contextlib.ExitStack) -> None:
        event: int | None = None
        async with self._database.change() as db:
            change = await queries.taken(db, key)
            if change is None:
                return
            ending.enter_context(self._ending(change.id))
            by_next = (change.security_profile is None or proof.profile == change.security_profile) and (
                not change.has_password or proof.next_password
            )
            standing = Standing(
                kind=change.kind,
                state=change.state,
                attempts=change.attempts,
                returns=change.returns,
                restarts=change.plan.restarting,
            )
            step = after_return(standing, by_next=by_next)
            if step is NextStep.PROMOTE:
                await queries.promote(db, change)
                await queries.end(db, change.id, ChangeState.DONE, None, stays_good=False)
                await audit(
                    db,
                    change.tenant_id,
                    actor=change.requested_by,
                    action="credentials changed",
                    kind="charging-station",
                    ident=change.station_id,
                    after={
                        "security_profile": change.security_profile,
                        "password": "set" if change.has_password else None,
                    },
                )
                what = (
                    "password" if change.kind is ChangeKind.PASSWORD else f"security profile {change.security_profile}"
                )
                event = await self._log.write(
                    db,
                    change.tenant_id,
                    key,
                    ServerEvent.CREDENTIALS_CHANGED,
                    {"what": what, "by": change.requested_by},
                )
                await self._alerts.clear(
                    db,
                    change.tenant_id,
                    key,
                    kind="security_event",
                    ident=ServerEvent.CREDENTIALS_NOT_CHANGED,
                    because="The station came in by the new ones.",
                )
            elif step is NextStep.SEND_AGAIN:
                await queries.go_on(
                    db,
                    change.id,
                    state=ChangeState.WAITING,
                    what="It came in by the old way: it is given the new one again.",
                )
            elif step is NextStep.RESTART:
                change.plan.restarting = False
                await queries.go_on(
                    db,
                    change.id,
                    state=ChangeState.AGREED,
                    what="It came in by the old way: it is asked to restart.",
                    plan=change.plan,
                    returns=change.returns + 1,
                )
            elif step is NextStep.ROLL_BACK:
                event = await self._roll_back(db, change, "It came back by the old way.")
            elif change.state not in ENDED:
                await queries.go_on(db, change.id, state=change.state, what=None)
        if step is NextStep.PROMOTE or step is NextStep.ROLL_BACK:
            await self._directory.refresh(key)
        if event is not None:
            await self._log.show(change.tenant_id, event)
        await self._show(change)
        self._wake.set()

    async def _roll_back(self, db: Db, change: Change, reason: str) -> int:
        """Ends a change that did not succeed, or has it taken back first; the security event."""
        good = stays_good(ChangeState.ROLLED_BACK, agreed=change.agreed_at is not None, attempts=change.attempts)
        if change.kind is ChangeKind.PROFILE and change.plan.slots and change.state is ChangeState.AGREED:
            change.plan.rolled = reason
            await queries.go_on(
                db,
                change.id,
                state=ChangeState.ROLLING_BACK,
                what=f"{reason} Its connections are put in their old order.",
                plan=change.plan,
            )
        else:
            await queries.end(db, change.id, ChangeState.ROLLED_BACK, reason, stays_good=good)
        what = "password" if change.kind is ChangeKind.PASSWORD else f"security profile {change.security_profile}"
        return await self._log.write(
            db,
            change.tenant_id,
            change.station_key,
            ServerEvent.CREDENTIALS_NOT_CHANGED,
            {"what": what, "reason": reason},
        )

    # -- the worker ----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            wait_s = _LONGEST_WAIT_S
            try:
                self._wake.clear()
                async with self._database.change() as db:
                    due = await queries.take_due(db, _AT_ONCE)
                for change in due:
                    self._spawn(self._step(change))
                if len(due) == _AT_ONCE:
                    wait_s = 0.0
                else:
                    async with self._database.read() as db:
                        soonest = await queries.soonest(db)
                    if soonest is not None:
                        wait_s = min(max(soonest, 0.02), wait_s)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("credential_changes_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _step(self, change: Change) -> None:
        try:
            match change.state:
                case ChangeState.WAITING:
                    await self._begin(change)
                case ChangeState.SENT:
                    # Whether it took it is seen by how it comes in.
                    await self._have_it_return(change)
                case ChangeState.AGREED:
                    await self._agreed(change)
                case ChangeState.ROLLING_BACK:
                    await self._take_back(change)
                case _:
                    pass
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not is_unavailable(error):
                log.exception("credential_change_failed", change=change.id)
            with contextlib.suppress(Exception):
                async with self._database.change() as db:
                    await queries.go_on(db, change.id, state=change.state, what=None, wait_s=5.0)
        finally:
            self._wake.set()

    async def _begin(self, change: Change) -> None:
        if datetime.now(UTC) >= change.expires_at:
            good = stays_good(ChangeState.EXPIRED, agreed=change.agreed_at is not None, attempts=change.attempts)
            await self._end(change, ChangeState.EXPIRED, "The station was not ready for it in time.", good=good)
            return
        if not change.plan.told:
            await self._go_on(change, ChangeState.WAITING, None, wait_s=3600.0)
            return
        if not await self._reach.ready(change.station_key):
            await self._go_on(change, ChangeState.WAITING, None, wait_s=_NOT_THERE_S)
            return
        try:
            if change.kind is ChangeKind.PROFILE:
                await self._prepare(change)
                await self._switch_profile(change)
            else:
                await self._give_password(change)
        except NotYetError as error:
            await self._go_on(change, ChangeState.WAITING, None, wait_s=2.0, plan=True)
            log.info("credential_change_waits", change=change.id, for_what=str(error))
        except (ConflictError, UnavailableError):  # gone before anything was sent
            await self._go_on(change, ChangeState.WAITING, None, wait_s=1.0, plan=True)
        except RuleError as error:
            await self._end(change, ChangeState.REFUSED, str(error), good=False)

    async def _give_password(self, change: Change) -> None:
        assert change.sealed is not None
        password = self._keys.decrypt(change.sealed, _purpose(change.station_key)).decode()
        async with self._database.change() as db:  # before it is sent: it may be taken though its answer is lost
            change.attempts += 1
            await queries.go_on(
                db,
                change.id,
                state=ChangeState.SENT,
                what="The new password is sent.",
                attempts=change.attempts,
                wait_s=_CALL_S + self._wait_s,
                hold=True,
            )
        outcome = await self._send(change, SetPassword(password=password))
        change.state = ChangeState.SENT
        await self._sent(change, outcome)

    async def _send(self, change: Change, command: Command) -> CommandOutcome:
        """Sends something that is recorded nowhere: it may be secret."""
        try:
            return await self._reach.command(change.station_key, command, _CALL_S)
        except (ConflictError, UnavailableError):
            if change.attempts:
                change.attempts -= 1
                async with self._database.change() as db:
                    now = await queries.locked(db, change.id)
                    if now is not None and now.state not in ENDED:
                        await queries.go_on(
                            db, change.id, state=ChangeState.WAITING, what=None, attempts=change.attempts, hold=True
                        )
            raise

    async def _sent(self, change: Change, outcome: CommandOutcome) -> None:
        """What follows from the answer to the message that makes the station change over."""
        told = outcome.status or (outcome.call.error_code if outcome.call is not None else None)
        if outcome.state is CommandState.ACCEPTED:
            needs_restart = told == "RebootRequired"
            async with self._database.change() as db:
                now = await queries.locked(db, change.id)
                if now is None or now.state is not ChangeState.SENT:
                    return  # it came in by it before its answer was looked at
                await queries.go_on(
                    db,
                    change.id,
                    state=ChangeState.AGREED,
                    what=f"The station answered {told or 'Accepted'}.",
                    plan=change.plan,
                    wait_s=0.0 if needs_restart else self._wait_s,
                    agreed=True,
                    returns=1 if needs_restart and change.kind is ChangeKind.PASSWORD else 0,
                )
            await self._directory.refresh(change.station_key)
        elif outcome.state is CommandState.REJECTED or (
            outcome.call is not None and outcome.call.outcome is CallOutcomeKind.CALLERROR and told in _SURE_REFUSALS
        ):
            # A01.FR.04, A05.FR.02 and on: it keeps what it has
            await self._end(change, ChangeState.REFUSED, outcome.reason or "The station refused.", good=False)
        else:
            await self._go_on(
                change,
                ChangeState.SENT,
                f"{outcome.reason or 'The station did not answer.'} How it comes in will tell.",
                wait_s=min(1.0, self._wait_s),
            )

    async def _have_it_return(self, change: Change) -> None:
        """Closes the socket of a station that does not come in anew by itself."""
        if await self._reach.version(change.station_key) is None:
            await self._go_on(change, change.state, None, wait_s=_NOT_THERE_S)
        else:
            await self._go_on(change, change.state, "It is asked to connect anew.", wait_s=max(10.0, self._wait_s))
            await self._reach.close(change.station_key, CloseReason.COME_AGAIN)
        await self._warn(change)

    async def _agreed(self, change: Change) -> None:
        plan = change.plan
        restarts = change.kind is ChangeKind.PROFILE and bool(plan.slots)
        if (change.returns and not plan.restarting) or (restarts and not plan.restarting):
            if not await self._reach.ready(change.station_key):
                await self._go_on(change, ChangeState.AGREED, None, wait_s=1.0)
                return
            plan.restarting = True
            outcome = await self._ask(change, Reset())  # on idle: a transaction that runs is not cut
            if outcome.state is CommandState.REJECTED:
                plan.restarting = False
                await self._go_on(change, ChangeState.AGREED, outcome.reason, wait_s=60.0, plan=True)
            else:
                what = f"It is asked to restart: {outcome.status or outcome.state.value}."
                await self._go_on(change, ChangeState.AGREED, what, wait_s=60.0 + self._wait_s, plan=True)
            await self._warn(change)
            return
        if restarts:
            # it restarts when its transactions have ended
            await self._go_on(change, ChangeState.AGREED, None, wait_s=60.0)
            await self._warn(change)
            return
        await self._have_it_return(change)

    async def _warn(self, change: Change) -> None:
        """Tells somebody, once, that a station which agreed has not come in by it for a day."""
        if change.plan.warned or change.agreed_at is None or datetime.now(UTC) - change.agreed_at < _WARN_AFTER:
            return
        change.plan.warned = True
        async with self._database.change() as db:
            await queries.go_on(db, change.id, state=change.state, what=None, plan=change.plan, wait_s=60.0)
            reason = "The station agreed a day ago and has not come in by it since. Both ways are open to it."
            event = await self._log.write(
                db, change.tenant_id, change.station_key, ServerEvent.CREDENTIALS_NOT_CHANGED, {"reason": reason}
            )
        await self._log.show(change.tenant_id, event)

    # -- security profiles ---------------------------------------------------------------------------------------------

    async def _prepare(self, change: Change) -> None:
        """What must be there before (A05.FR.02, FR.03): the root, a password, a certificate.

        Raises:
            NotYetError: something is on its way.
            RuleError: the station refused something.
        """
        plan, profile = change.plan, change.security_profile
        if plan.root is not None and not plan.root_done:
            await self._demand(
                change, InstallCertificate(use=CertificateUse.CSMS_ROOT, certificate=plan.root), "The root"
            )
            plan.root_done = True
            await self._go_on(change, ChangeState.WAITING, "The station trusts the root.", plan=True, hold=True)
        if change.has_password and not plan.password_done:
            assert change.sealed is not None
            password = self._keys.decrypt(change.sealed, _purpose(change.station_key)).decode()
            change.attempts += 1
            await self._go_on(change, ChangeState.WAITING, "The password is sent.", hold=True)
            outcome = await self._send(change, SetPassword(password=password))
            if outcome.state is not CommandState.ACCEPTED:
                if outcome.state in (CommandState.TIMED_OUT, CommandState.FAILED) and change.attempts < MOST_ATTEMPTS:
                    raise NotYetError("an answer to the password")
                raise RuleError(outcome.reason or "The station did not take the password.")
            plan.password_done = True
            await self._go_on(change, ChangeState.WAITING, "The station has the password.", plan=True, hold=True)
        if profile == 3 and not await self._has_certificate(change):
            asked = plan.certificate_asked
            if asked is None or datetime.now(UTC) - asked > _CERTIFICATE_AGAIN:
                plan.certificate_asked = datetime.now(UTC)
                await self._go_on(
                    change, ChangeState.WAITING, "It is asked to ask for a certificate.", plan=True, hold=True
                )
                await self._demand(change, Trigger(message="SignChargingStationCertificate"), "A certificate")
            raise NotYetError("its certificate")

    async def _has_certificate(self, change: Change) -> bool:
        """Whether the station took a certificate that holds for another day.

        Raises:
            RuleError: the newest one was refused, by it or by us, since it was asked for.
        """
        async with self._database.read() as db:
            newest = await certificates.newest_of(db, change.station_key)
        if newest is None:
            return False
        asked = change.plan.certificate_asked
        if newest.state == "issued" and newest.delivery == "accepted" and newest.not_after is not None:
            return newest.not_after - datetime.now(UTC) > timedelta(days=1)
        if asked is not None and newest.requested_at >= asked:
            if newest.state in ("refused", "failed"):
                raise RuleError(f"No certificate could be made: {newest.reason}")
            if newest.delivery in ("rejected", "expired"):
                raise RuleError(newest.delivery_reason or "The station did not take its certificate.")
        return False

    async def _switch_profile(self, change: Change) -> None:
        """The message that makes the station change over."""
        assert change.security_profile is not None
        version = await self._reach.version(change.station_key)
        if version is None:
            raise ConflictError("The station is not connected.")
        if change.from_profile == 0 and change.security_profile == 1 and version != "1.6":
            # Without TLS on either side nothing but the password changes: it is sent from the next connection on.
            async with self._database.change() as db:
                await queries.go_on(
                    db,
                    change.id,
                    state=ChangeState.AGREED,
                    what=None,
                    plan=change.plan,
                    wait_s=self._wait_s,
                    agreed=True,
                )
            return
        command: Command
        if version == "1.6":
            command = SetVariables(
                variables=(VariableSetting(variable="SecurityProfile", value=str(change.security_profile)),)
            )
        else:
            command = await self._connections(change)
        async with self._database.change() as db:
            change.attempts += 1
            await queries.go_on(
                db,
                change.id,
                state=ChangeState.SENT,
                what=f"It is told to use security profile {change.security_profile}.",
                plan=change.plan,
                attempts=change.attempts,
                wait_s=_CALL_S + self._wait_s,
                hold=True,
            )
        outcome = await self._ask(change, command)
        change.state = ChangeState.SENT
        await self._sent(change, outcome)

    async def _connections(self, change: Change) -> Command:
        """Writes the new connection profile (B09), and makes the order in which it comes first (A05)."""
        plan = change.plan
        assert change.security_profile is not None
        if not plan.slots:
            outcome = await self._demand(change, GetVariables(variables=(_PRIORITY,)), "The order of its connections")
            answers = reply_of(outcome, VariableAnswers)
            value = answers.results[0].value if answers is not None and answers.results else None
            parts = [part.strip() for part in (value or "").split(",")]
            slots = tuple(int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 9)
            if not slots:
                raise RuleError("The station does not tell which connection profiles it has.")
            plan.slots = slots
        if plan.slot is None:
            others = plan.slots[1:]
            plan.slot = others[-1] if others else max(plan.slots) + 1
        if not plan.slot_done:
            url = plan.url
            if url is None:
                raise RuleError("Where the station reaches this server by the new profile is not known.")
            command = SetNetworkProfile(
                slot=plan.slot, url=url, security_profile=change.security_profile, interface=plan.interface
            )
            await self._demand(change, command, "The connection profile")
            plan.slot_done = True
            await self._go_on(
                change, ChangeState.WAITING, f"Connection profile {plan.slot} is written.", plan=True, hold=True
            )
        order = [plan.slot, *(slot for slot in plan.slots if slot != plan.slot)]
        return _ordered(order)

    async def _take_back(self, change: Change) -> None:
        """Puts the connection profiles of a station in the order they had."""
        if not await self._reach.ready(change.station_key):
            await self._go_on(change, ChangeState.ROLLING_BACK, None, wait_s=1.0)
            return
        outcome = await self._ask(change, _ordered(list(change.plan.slots)))
        reason = change.plan.rolled or "It came back by the old way."
        if outcome.state is CommandState.REJECTED:
            reason += " It does not put its connection profiles in their old order."
        elif outcome.state is not CommandState.ACCEPTED:
            await self._go_on(change, ChangeState.ROLLING_BACK, outcome.reason, wait_s=5.0)
            return
        await self._end(change, ChangeState.ROLLED_BACK, reason, good=True, told=False)

    async def _demand(self, change: Change, command: Command, what: str) -> CommandOutcome:
        """Asks the station for something the change needs.

        Raises:
            RuleError: it refused.
            NotYetError: it did not answer.
        """
        outcome = await self._ask(change, command)
        if outcome.state is CommandState.ACCEPTED:
            return outcome
        if outcome.state in (CommandState.REJECTED,) or outcome.status in _SURE_REFUSALS:
            raise RuleError(f"{what}: {outcome.reason or 'the station refused.'}")
        raise NotYetError(what)

    async def _ask(self, change: Change, command: Command) -> CommandOutcome:
        return await self._commands.ask(
            change.tenant_id, change.station_key, command, by="security", timeout_s=_CALL_S, valid_s=_CALL_S
        )

    # -- small things --------------------------------------------------------------------------------------------------

    async def _go_on(
        self,
        change: Change,
        state: ChangeState,
        what: str | None,
        *,
        wait_s: float = 0.0,
        plan: bool = False,
        hold: bool = False,
    ) -> None:
        async with self._database.change() as db:
            now = await queries.locked(db, change.id)
            if now is None or now.state is not change.state:
                return  # it came in meanwhile, and somebody else went on
            await queries.go_on(
                db,
                change.id,
                state=state,
                what=what,
                plan=change.plan if plan else None,
                attempts=change.attempts,
                wait_s=wait_s,
                hold=hold,
            )
        change.state = state
        if what is not None:
            await self._show(change)

    async def _end(self, change: Change, state: ChangeState, reason: str, *, good: bool, told: bool = True) -> None:
        with self._ending(change.id):
            event = await self._write_end(change, state, reason, good=good, told=told)
            if event is None:
                return
            await self._directory.refresh(change.station_key)
        if told:
            await self._log.show(change.tenant_id, event)
        await self._show(change)

    async def _write_end(
        self, change: Change, state: ChangeState, reason: str, *, good: bool, told: bool
    ) -> int | None:
        """The security event, 0 where none is told; None: it had ended before."""
        event = 0
        async with self._database.change() as db:
            now = await queries.locked(db, change.id)
            if now is None or now.state in ENDED:
                return None
            await queries.end(db, change.id, state, reason, stays_good=good)
            if told:
                what = (
                    "password" if change.kind is ChangeKind.PASSWORD else f"security profile {change.security_profile}"
                )
                event = await self._log.write(
                    db,
                    change.tenant_id,
                    change.station_key,
                    ServerEvent.CREDENTIALS_NOT_CHANGED,
                    {"what": what, "reason": reason},
                )
        return event

    async def _rotate(self) -> None:
        """Begins to change passwords that are too old, some at a time."""
        while True:
            try:
                async with self._database.read() as db:
                    due = await queries.due_for_rotation(db, self._rotate_days, _ROTATED_A_ROUND)
                for tenant_id, _, station_id in due:
                    policy = Caller(key_id=0, tenant_id=tenant_id, name="password rotation", scopes=frozenset())
                    with contextlib.suppress(ConflictError, NotFoundError):
                        await self.rotate_password(policy, station_id, None)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("password_rotation_failed")
            await asyncio.sleep(self._rotation_period_s)

    async def _reseal(self) -> None:
        """Encrypts passwords that wait with the newest installation key."""
        async with self._database.change() as db:
            for ident, sealed in await queries.sealed_with_old_keys(db):
                change = None if self._keys.is_current(sealed) else await queries.locked(db, ident)
                if change is not None:
                    purpose = _purpose(change.station_key)
                    with contextlib.suppress(RuleError):
                        await queries.reseal(
                            db, ident, sealed, self._keys.encrypt(self._keys.decrypt(sealed, purpose), purpose)
                        )

    async def _show(self, change: Change) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, change.tenant_id, change.id)
            if view is not None:
                self._publish(change.tenant_id, view)

    def _publish(self, tenant_id: Any, view: CredentialChangeView) -> None:
        self._events.publish("credentials.changing", tenant_id, view.station_id, view)

    def _spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ordered(slots: list[int]) -> SetVariables:
    value = ",".join(map(str, slots))
    return SetVariables(
        variables=(VariableSetting(component=_PRIORITY.component, variable=_PRIORITY.variable, value=value),)
    )


def _purpose(key: StationKey) -> str:
    return f"station password {key}"
