"""A station's clock: what it writes on its messages. It may be wrong, and it may follow the physics instead of the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_MILLISECOND = timedelta(milliseconds=1)
_SLACK = timedelta(seconds=1)


class StationClock:
    """Stamps messages, strictly rising by at least a millisecond (the wire carries no finer time).

    Args:
        offset: how far the clock is ahead of true time; negative when it is behind.
        stubborn: it does not take the CSMS's time (OCPP 1.6 4.2, 2.0.1 B01.FR.06 ask for it; some do not).
    """

    __slots__ = ("_frozen", "_last", "offset", "stubborn")

    def __init__(self, offset: timedelta = timedelta(0), *, stubborn: bool = False) -> None:
        self.offset = offset
        self.stubborn = stubborn
        self._last: datetime | None = None
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """The station's time, aware UTC; every call gives a later one."""
        moment = self._frozen if self._frozen is not None else datetime.now(UTC)
        moment += self.offset
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        if self._last is not None and moment <= self._last and self._last - moment < _SLACK:
            moment = self._last + _MILLISECOND
        self._last = moment
        return moment

    def synchronise(self, csms_time: datetime) -> None:
        """Takes the CSMS's time where it differs by more than a second."""
        if self.stubborn or self._frozen is not None:
            return
        wrong_by = datetime.now(UTC) + self.offset - csms_time
        if abs(wrong_by) > _SLACK:
            self.offset -= wrong_by

    def freeze(self, at: datetime) -> None:
        """From now on the clock stands at `at` and only `advance` moves it: messages carry the time of the physics."""
        self._frozen = at
        self._last = None

    def advance(self, milliseconds: int) -> None:
        """Moves a frozen clock; does nothing to one that runs."""
        if self._frozen is not None:
            self._frozen += timedelta(milliseconds=milliseconds)

    def thaw(self) -> None:
        """The clock runs with the wall again."""
        self._frozen = None
        self._last = None
