"""What happens at an EVSE, one thing after the other: the scripts of drivers, cars and contactors.

Scripts never wait for a network that is not there: when the socket goes, they charge on, and what they have to say
about transactions stays in the station's outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from chargeplane.simulator import memory
from chargeplane.simulator.car import CAR_MODELS, WATT_MS_PER_WH, Car
from chargeplane.simulator.dialect import Draft, Moment, Reading
from chargeplane.simulator.evse import ChargingState, Evse, Plan, Session, StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.outbox import Answer
from chargeplane.simulator.script import Resume, Script, Steps, Wait
from chargeplane.simulator.settings import (
    AUTHORIZE_REMOTE,
    LOCAL_COST,
    SAMPLE_INTERVAL,
    STOP_ON_INVALID_ID,
    TX_STOP_POINT,
)

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

TX_ENERGY = "EnergyTransfer"
_LIMIT = StopReason.ENERGY_LIMIT
_DEFAULT_STEP_S = 60.0
_LARGE = CAR_MODELS[-1]
_STANDSTILL_S = 0.05  # of the wall, where charging takes no time and no energy flows


class Charging:
    """The scripts of one station."""

    __slots__ = ("_dark", "_scripts", "_station")

    def __init__(self, station: VirtualStation) -> None:
        self._station = station
        self._scripts: set[Script] = set()
        self._dark: list[Resume] = []

    def launch(self, steps: Steps[Any], done: Callable[[Any, BaseException | None], None]) -> None:
        """Runs a script; `done` gets its result or what ended it."""

        def over(result: Any, error: BaseException | None) -> None:
            self._scripts.discard(script)
            done(result, error)

        script = Script(steps, over)
        self._scripts.add(script)
        script.start()

    def abandon(self) -> None:
        """Ends every script where it stands."""
        for script in list(self._scripts):
            script.cancel()

    def went_offline(self) -> None:
        """The socket is gone: nobody waits for answers any more."""
        for evse in self._station.evses:
            session = evse.session
            if session is not None and session.waiting is not None:
                waiting, session.waiting = session.waiting, None
                waiting(None)

    def power_is_back(self) -> None:
        """The mains are back: what stood still goes on."""
        dark, self._dark = self._dark, []
        for resume in dark:
            resume(None)

    # ------------------------------------------------------------ waits

    def ask(self, draft: Draft) -> Steps[Answer]:
        """Sends a message that is only worth something now, and waits for its answer."""
        answer: Answer = yield lambda resume: self._station.send(draft, resume)
        return answer

    def _tell(self, session: Session, draft: Draft, settle: Callable[[Answer], None] | None = None) -> Wait:
        """Sends a message that must not be lost; the wait is over when it is answered or the station is offline."""
        station = self._station

        def wait(resume: Resume) -> None:
            def settled(answer: Answer) -> None:
                if settle is not None:
                    settle(answer)
                if session.waiting is resume:
                    session.waiting = None
                resume(answer)

            session.waiting = resume
            station.send(draft, settled, kept=True)
            if not station.online and session.waiting is resume:
                session.waiting = None
                resume(None)

        return wait

    def _pause(self, session: Session, seconds: float) -> Wait:
        """Time passes, unless somebody rouses the session."""
        timers = self._station.timers

        def wait(resume: Resume) -> None:
            timer = timers.after(seconds, lambda: resume(None))

            def roused(result: Any) -> None:
                timer.cancel()
                resume(result)

            session.wake = roused

        return wait

    def _until_roused(self, session: Session) -> Wait:
        def wait(resume: Resume) -> None:
            session.wake = resume

        return wait

    def _until_powered(self) -> Wait:
        def wait(resume: Resume) -> None:
            if self._station.powered:
                resume(None)
            else:
                self._dark.append(resume)

        return wait

    # ------------------------------------------------------------ cable

    def plug_in(self, evse: Evse, car: Car | None = None) -> Car:
        """A car arrives; None takes one off the street that the EVSE can charge."""
        station = self._station
        if car is None:
            car = station.new_car()
            while evse.meter.model.dc and not car.model.dc_max_w:
                car = station.new_car()
        evse.car = car
        evse.finishing = False
        station.tell_status(evse)
        return car

    def unplug(self, evse: Evse) -> None:
        """The car drives off."""
        evse.car = None
        evse.finishing = False
        session = evse.session
        if session is not None and evse.busy:
            session.request_stop(StopReason.EV_DISCONNECTED)
        self._station.tell_status(evse)

    # ------------------------------------------------------------ a visit

    def visit(
        self,
        evse: Evse,
        id_token: str,
        plan: Plan,
        car: Car | None = None,
        *,
        remote_start_id: int | None = None,
        remote: bool = False,
    ) -> Steps[Session]:
        """Plug in, authorise, charge as planned, stop, drive off.

        Args:
            remote: the CSMS asked for it; no Authorize unless the settings want one.
        """
        station = self._station
        if car is None and evse.car is None:
            car = self._fitting_car(evse, plan)
        if car is not None:
            self.plug_in(evse, car)
        session = yield from self.begin(evse, id_token, remote_start_id=remote_start_id, remote=remote)
        if session.accepted is not False:
            yield from self.energise(evse, session, plan)
            yield from self.finish(evse, session, session.stop_request or plan.reason)
        if plan.unplug:
            self.unplug(evse)
        station.tell_status(evse)
        return session

    def _fitting_car(self, evse: Evse, plan: Plan) -> Car:
        """A car that is empty enough for the plan and fits the EVSE."""
        station = self._station
        for _ in range(64):
            car = station.new_car()
            if evse.meter.model.dc and not car.model.dc_max_w:
                continue
            if plan.energy_wh is None or car.missing > plan.energy_wh * WATT_MS_PER_WH:
                return car
        # More than any car off the street takes: the battery of a ship, so that the plan's limit is what counts.
        assert plan.energy_wh is not None
        model = _LARGE
        return Car(replace(model, battery_wh=2 * plan.energy_wh + model.battery_wh), soc_percent=20)

    def begin(
        self, evse: Evse, id_token: str, *, remote_start_id: int | None = None, remote: bool = False
    ) -> Steps[Session]:
        """Authorises and starts a transaction; the session says whether it was allowed."""
        station = self._station
        session = evse.session = Session(evse.id, id_token)
        session.remote_start_id = remote_start_id
        station.tell_status(evse)
        session.group = memory.group_of(station, id_token)
        if not evse.takes(id_token, session.group):
            # OCPP 2.0.1 H03.FR.08: the group of a token that is not known here has to be asked for.
            if evse.reservation_group is not None and session.group is None:
                asked: Answer = yield from self.ask(station.dialect.authorize(id_token))
                self._learn(session, asked)
            if not evse.takes(id_token, session.group):
                session.status = "Reserved"
                return self._refused(evse, session)
        if remote and not station.settings.is_on(AUTHORIZE_REMOTE):
            pass
        elif (known := memory.locally(station, id_token)) is not None and (known or not station.online):
            if not known:
                return self._refused(evse, session)
            # Offline nobody has said yet that it is right (C15): only a list or a cache has.
            if memory.listed(station, id_token) or memory.cached(station, id_token):
                session.accepted, session.status = True, "Accepted"
        elif known is False:
            return self._refused(evse, session)
        else:
            answer: Answer = yield from self.ask(station.dialect.authorize(id_token))
            if answer.payload is not None:
                self._learn(session, answer)
                session.status = station.dialect.read_authorize(answer.payload)
                if station.settings.is_on(LOCAL_COST):
                    session.tariff_id = station.dialect.read_tariff(answer.payload)
                # C16.FR.03: a master pass begins nothing.
                if session.status != "Accepted" or memory.is_master(station, session.group):
                    return self._refused(evse, session)
                session.accepted = True
            elif answer.error_code is not None or memory.locally(station, id_token) is False:
                session.status = answer.error_code
                return self._refused(evse, session)
        if not station.powered:
            return self._refused(evse, session)
        if evse.reservation_id is not None:
            session.reservation_id = evse.reservation_id
            evse.forget_reservation()
        session.begin(evse.meter.register_wh, station.clock.now())
        session.charging_state = ChargingState.EV_CONNECTED
        station.counters.charging += 1
        assert session.started_at is not None
        reading = Reading(session.started_at, self._values(evse))
        draft = station.dialect.started(station, evse, session, reading, self._offline())

        def answered(answer: Answer) -> None:
            if answer.payload is None:
                return
            status = station.dialect.read_started(session, answer.payload)
            self._learn(session, answer)
            if status is not None:
                session.status = status
                if status == "Accepted":
                    session.accepted = True
                elif station.settings.is_on(STOP_ON_INVALID_ID):
                    # OCPP 1.6, 5.11 and 2.0.1 E05: the id token turned out to be invalid after the fact.
                    session.request_stop(StopReason.DEAUTHORIZED)

        yield self._tell(session, draft, answered)
        limited = station.dialect.limit_set(station, evse, session, Reading(station.clock.now(), []))
        if limited is not None:
            yield self._tell(session, limited)
        return session

    def _learn(self, session: Session, answer: Answer) -> None:
        """Keeps what the CSMS says of the session's token (C10.FR.04, FR.05)."""
        known = None if answer.payload is None else memory.told(answer.payload)
        if known is not None:
            memory.remember(self._station, session.id_token, known)
            session.group = known.group

    def present(self, evse: Evse, id_token: str) -> Steps[bool]:
        """A token is presented where a transaction goes on: its own, one of its group, or a master pass stops it
        (OCPP 2.0.1 C01.FR.03, C09, C16; 1.6, 4.10). Returns whether it did."""
        station = self._station
        session = evse.session
        if session is None or not evse.busy:
            return False
        if id_token.casefold() == session.id_token.casefold():
            session.request_stop(StopReason.LOCAL)
            return True
        known = memory.listed(station, id_token) or memory.cached(station, id_token)
        if known is None or known.status != "Accepted":
            answer: Answer = yield from self.ask(station.dialect.authorize(id_token))
            known = None if answer.payload is None else memory.told(answer.payload)
            memory.remember(station, id_token, known)
        if known is None or known.status != "Accepted":
            return False
        if memory.is_master(station, known.group):
            for each in station.evses:  # C16.FR.02: without a display all of them
                if each.session is not None and each.busy:
                    each.session.stop_id_token = id_token
                    each.session.request_stop(StopReason.MASTER_PASS)
            return True
        if session.group is None or known.group is None or known.group.casefold() != session.group.casefold():
            return False
        session.stop_id_token = id_token
        session.request_stop(StopReason.LOCAL)
        return True

    def _refused(self, evse: Evse, session: Session) -> Session:
        session.accepted = False
        self._station.counters.sessions_refused += 1
        session.tell_ended()
        self._station.tell_status(evse)
        return session

    def _offline(self) -> bool:
        station = self._station
        return not station.online and not station.has(Fault.UNFLAGGED_OFFLINE)

    def _values(self, evse: Evse) -> list[Any]:
        station = self._station
        limit = station.limit_w(evse)
        return evse.meter.read(station.quantities(), evse.car, limit)

    # ------------------------------------------------------------ energy

    def energise(self, evse: Evse, session: Session, plan: Plan) -> Steps[None]:
        """Lets energy flow as planned, with meter values, until the limit, a full car or a request to stop."""
        station = self._station
        interval = plan.meter_interval_s
        if interval is None:
            interval = float(station.settings.number(SAMPLE_INTERVAL))
        step_s = interval or _DEFAULT_STEP_S
        meter = evse.meter
        most: int | None = None
        if plan.energy_wh is not None:
            # From whole Wh to whole Wh of the register, so that start and stop differ by exactly the energy.
            most = plan.energy_wh * WATT_MS_PER_WH
        left_ms: int | None = None if plan.duration_s is None else int(plan.duration_s * 1000)
        limit = session.max_energy_wh
        if limit is not None:
            left = max(limit - int(session.energy_wh), 0) * WATT_MS_PER_WH
            if most is None or left <= most:
                most = left
                plan = replace(plan, hold=TX_ENERGY not in station.settings.text(TX_STOP_POINT), reason=_LIMIT)
        if session.charging_state is ChargingState.EV_CONNECTED and session.stop_request is None:
            yield from self._enter(evse, session, self._flows(evse, session))
        while session.stop_request is None:
            if (most is not None and most <= 0) or (left_ms is not None and left_ms <= 0):
                if not plan.hold:
                    if plan.reason is _LIMIT:
                        session.request_stop(_LIMIT)
                    return
                suspended = ChargingState.SUSPENDED_EVSE if plan.reason is _LIMIT else ChargingState.SUSPENDED_EV
                yield from self._enter(evse, session, suspended)
                yield from self._hold(evse, session, interval)
                continue
            step_ms = int(step_s * 1000)
            if left_ms is not None:
                step_ms = min(step_ms, left_ms)
            if station.paced:
                before = station.timers.now()
                yield self._pause(session, step_ms / 1000 / station.options.speed)
                step_ms = min(step_ms, int((station.timers.now() - before) * station.options.speed * 1000) + 1)
            if not station.powered:
                yield from self._darkness(evse, session)
                continue
            if evse.car is None:
                continue
            flowed_before = meter.delivered
            setpoint = station.setpoint_w(evse)
            if setpoint is not None and setpoint < 0:
                if evse.car.gives_w(-setpoint) > 0:
                    meter.flow_back(evse.car, step_ms, -setpoint)
                    if left_ms is not None:
                        left_ms -= step_ms
                    station.clock.advance(step_ms)
                    if interval > 0:
                        yield from self.report(evse, Moment.PERIODIC)
                    continue
                setpoint = 0
            limit = station.limit_w(evse)
            ran = meter.flow(evse.car, step_ms, limit if setpoint is None else min(limit, setpoint), most)
            flowed = meter.delivered - flowed_before
            if most is not None:
                most -= flowed
            if left_ms is not None:
                left_ms -= step_ms
            at_limit = most is not None and most <= 0
            station.clock.advance(ran if at_limit else step_ms)
            if session.stop_request is not None:
                break
            state = self._flows(evse, session)
            if state is not session.charging_state:
                if state is not ChargingState.CHARGING:
                    meter.stop()
                yield from self._enter(evse, session, state)
            if interval > 0 and not (at_limit and not plan.hold):
                yield from self.report(evse, Moment.PERIODIC)
            if not flowed and not station.paced:
                if state is ChargingState.SUSPENDED_EV:
                    if not plan.hold:
                        return
                    yield from self._hold(evse, session, 0)
                elif session.stop_request is None:
                    yield self._pause(session, _STANDSTILL_S)
            elif state is ChargingState.SUSPENDED_EV and not plan.hold and plan.duration_s is None:
                return

    def _flows(self, evse: Evse, session: Session) -> ChargingState:
        """The charging state that the car and the limits make at this moment."""
        if evse.car is None:
            return ChargingState.EV_CONNECTED
        limit = min(self._station.limit_w(evse), evse.meter.model.power_w)
        setpoint = self._station.setpoint_w(evse)
        if setpoint is not None:
            if setpoint < 0 and evse.car.gives_w(-setpoint) > 0:
                return ChargingState.CHARGING
            limit = min(limit, max(0, setpoint))
        model = evse.meter.model
        if evse.car.wants_w(dc=model.dc, phases=model.phases, offered_w=limit) > 0:
            return ChargingState.CHARGING
        if evse.car.wants_w(dc=model.dc, phases=model.phases, offered_w=model.power_w) > 0:
            return ChargingState.SUSPENDED_EVSE
        return ChargingState.SUSPENDED_EV

    def _enter(self, evse: Evse, session: Session, state: ChargingState) -> Steps[None]:
        """A new charging state: told as a status (1.6), as an event (2.x)."""
        if state is session.charging_state:
            return
        session.charging_state = state
        if state is not ChargingState.CHARGING:
            evse.meter.stop()
        self._station.tell_status(evse)
        yield from self.report(evse, Moment.STATE_CHANGED)

    def _hold(self, evse: Evse, session: Session, interval: float) -> Steps[None]:
        """The car is full or has what it wants, and stays."""
        station = self._station
        while session.stop_request is None:
            if station.paced and interval > 0:
                yield self._pause(session, interval / station.options.speed)
                if session.stop_request is None and station.powered:
                    yield from self.report(evse, Moment.PERIODIC)
            else:
                yield self._until_roused(session)
            if not station.powered:
                yield from self._darkness(evse, session)

    def _darkness(self, evse: Evse, session: Session) -> Steps[None]:
        """No power: nothing happens until it is back."""
        evse.meter.stop()
        yield self._until_powered()
        if session.stop_request is None:
            yield from self.report(evse, Moment.POWER_BACK)

    def report(self, evse: Evse, moment: Moment = Moment.TRIGGERED) -> Steps[None]:
        """Meter values now, in the transaction if there is one."""
        station = self._station
        session = evse.session
        reading = Reading(station.clock.now(), self._values(evse))
        if session is None or not evse.busy or not session.started or station.has(Fault.NO_UPDATES):
            if moment is not Moment.STATE_CHANGED:
                yield from self.ask(station.dialect.meter_values(station, evse, reading))
            return
        draft = station.dialect.updated(station, evse, session, reading, moment, self._offline())
        if draft is None:
            return
        session.updates += 1
        session.reported(evse.meter.register_wh)
        yield self._tell(session, draft)

    def finish(self, evse: Evse, session: Session, reason: StopReason) -> Steps[None]:
        """The transaction ends: contactor opens, register is read, the stop goes out."""
        station = self._station
        if not session.started or session.over:
            return
        yield self._until_powered()
        evse.meter.stop()
        late: Draft | None = None
        if station.has(Fault.LATE_METER_VALUES):
            reading = Reading(station.clock.now(), self._values(evse))
            late = station.dialect.updated(station, evse, session, reading, Moment.PERIODIC, self._offline())
        at = station.clock.now()
        register = evse.meter.register_wh
        session.reported(register)
        session.meter_stop_wh = register
        session.stop_reason = reason
        reading = Reading(at, self._values(evse))
        draft = station.dialect.ended(station, evse, session, reading, reason, self._offline())
        session.stopped_at = at
        session.charging_state = ChargingState.IDLE
        station.counters.charging -= 1
        station.counters.sessions += 1
        station.counters.delivered_wh += int(session.energy_wh)
        evse.finishing = evse.car is not None

        def answered(answer: Answer) -> None:
            session.acknowledged = answer.ok

        if station.has(Fault.LOST_STOP):
            station.session_over(session)
            station.tell_status(evse)
            return
        wait = self._tell(session, draft, answered)
        if late is not None:
            station_wait = wait

            def wait_and_send_late(resume: Resume, late: Draft = late) -> None:
                station_wait(resume)
                station.send(late, None, kept=True)

            wait = wait_and_send_late

        station.session_over(session)
        yield wait
        station.tell_status(evse)
