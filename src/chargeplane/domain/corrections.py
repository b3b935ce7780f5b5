"""A station's messages as it meant them, where its quirks say that numbers or times are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from chargeplane.domain.clock import ClockOffset, measure
from chargeplane.domain.messages import (
    ConnectorStatus,
    MeterReport,
    Reading,
    Sample,
    StationMessage,
    TransactionReport,
)
from chargeplane.domain.quirks import MEASURED, Known, Scale
from chargeplane.kernel.units import bounded

_QUARTER_S = 900.0


class Correction:
    """Made once for a station, called for each of its messages.

    Args:
        known: with quirks that change values.
    """

    __slots__ = ("_ahead", "_scales", "_zone", "_zone_rule", "fired")

    def __init__(self, known: Known) -> None:
        self._scales = tuple((quirk.name, scale) for quirk in known.quirks for scale in quirk.scales)
        zoned = next((quirk for quirk in known.quirks if quirk.time_zone is not None), None)
        self._zone_rule = None if zoned is None else zoned.name
        self._zone: ZoneInfo | None = None
        if zoned is not None and zoned.time_zone is not None and zoned.time_zone != MEASURED:
            self._zone = ZoneInfo(zoned.time_zone)
        self._ahead: ClockOffset | None = None
        self.fired: tuple[str, ...] = ()
        """The rules that changed the last message."""

    def __call__(self, message: StationMessage, now: datetime) -> StationMessage:
        """The corrected message; the same object where nothing was to correct.

        Args:
            now: when it came in.
        """
        fired: dict[str, None] = {}
        if self._zone_rule is not None and isinstance(message, TransactionReport | MeterReport | ConnectorStatus):
            timed = self._timed(message, now)
            if timed is not message:
                fired[self._zone_rule] = None
                message = timed
        if self._scales:
            scaled = self._scaled(message)
            if scaled is not message:
                fired.update((name, None) for name, _ in self._scales)
                message = scaled
        self.fired = tuple(fired)
        return message

    def _scaled(self, message: StationMessage) -> StationMessage:
        if isinstance(message, TransactionReport):
            readings = _scaled(message.readings, self._scales)
            start, stop = message.meter_start, message.meter_stop
            for _, scale in self._scales:
                if scale.registers:
                    start = None if start is None else bounded(start * scale.factor)
                    stop = None if stop is None else bounded(stop * scale.factor)
            if readings is message.readings and start == message.meter_start and stop == message.meter_stop:
                return message
            return replace(message, readings=readings, meter_start=start, meter_stop=stop)
        if isinstance(message, MeterReport):
            readings = _scaled(message.readings, self._scales)
            return message if readings is message.readings else replace(message, readings=readings)
        return message

    def _timed(
        self, message: TransactionReport | MeterReport | ConnectorStatus, now: datetime
    ) -> TransactionReport | MeterReport | ConnectorStatus:
        at = None if isinstance(message, MeterReport) else message.at
        readings = () if isinstance(message, ConnectorStatus) else message.readings
        if self._zone is None:
            told = [one for one in (at, *(reading.at for reading in readings)) if one is not None]
            # a message is sent late, never early: only a clock that is ahead tells its zone
            self._ahead = measure(self._ahead, max(told, default=None), now, may_be_old=True)
            if self._ahead is None or not self._ahead.zone_like or self._ahead.offset_s <= 0:
                return message
        turned = self._turned(at)
        if isinstance(message, ConnectorStatus):
            return message if turned == at else replace(message, at=turned)
        again = tuple(Reading(self._turned(reading.at), reading.samples) for reading in readings)
        if turned == at and again == readings:
            return message
        if isinstance(message, MeterReport):
            return replace(message, readings=again)
        return replace(message, at=turned, readings=again)

    def _turned(self, at: datetime | None) -> datetime | None:
        """A time of the station in UTC."""
        if at is None:
            return None
        try:
            if self._zone is not None:
                return at.replace(tzinfo=self._zone).astimezone(UTC)
            assert self._ahead is not None
            return at - timedelta(seconds=round(self._ahead.offset_s / _QUARTER_S) * _QUARTER_S)
        except OverflowError:
            return at


def correction(known: Known) -> Correction | None:
    """What to do to each of a station's messages before the rules see it; None for nearly all stations."""
    return Correction(known) if any(quirk.scales or quirk.time_zone for quirk in known.quirks) else None


def _scaled(readings: tuple[Reading, ...], scales: tuple[tuple[str, Scale], ...]) -> tuple[Reading, ...]:
    changed = False
    scaled = []
    for reading in readings:
        samples = []
        for sample in reading.samples:
            corrected = _corrected(sample, scales)
            changed = changed or corrected is not sample
            samples.append(corrected)
        scaled.append(Reading(reading.at, tuple(samples)))
    return tuple(scaled) if changed else readings


def _corrected(sample: Sample, scales: tuple[tuple[str, Scale], ...]) -> Sample:
    for name, scale in scales:
        if sample.value is not None and sample.measurand == scale.measurand and sample.unit == scale.unit:
            # a number that leaves our bounds becomes None, with the station's own kept beside it
            value = bounded(sample.value * scale.factor)
            sample = replace(sample, value=value, repaired=name, raw=sample.raw or str(sample.value))
    return sample
