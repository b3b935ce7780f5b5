"""What the OCPP door counts.

Cells are fetched once per kind and then raised in place, so that a message pays a dictionary look-up and a bisection.
"""

from __future__ import annotations

from collections.abc import Callable

from chargeplane.kernel.measures import Buckets, Measures


class OcppMeasures:
    """The door's measures.

    Args:
        measures: those of the process.
        sockets: gives the open sockets per OCPP version, when asked.
        lag: gives the seconds by which the event loop is late, when asked.
    """

    __slots__ = ("_calls", "_closed", "_frames", "_handshakes", "_repairs", "slowed", "unreadable")

    def __init__(self, measures: Measures, sockets: Callable[[], dict[str, float]], lag: Callable[[], float]) -> None:
        measures.gauge("chargeplane_ocpp_connections", "Open sockets of charging stations.", sockets, "version")
        measures.gauge("chargeplane_loop_lag_seconds", "How late the event loop was of late.", lag)
        self._handshakes = measures.counter(
            "chargeplane_ocpp_handshakes", "Opening requests of charging stations, by how they ended.", ("outcome",)
        )
        self._closed = measures.counter(
            "chargeplane_ocpp_disconnects", "Sockets that ended, by close code (RFC 6455, 7.4.1).", ("code",)
        )
        self._calls = measures.histogram(
            "chargeplane_ocpp_call_seconds",
            "From a CALL to its answer; direction `in` is from a station.",
            ("version", "direction", "action", "outcome"),
        )
        self._repairs = measures.counter(
            "chargeplane_ocpp_repairs", "Messages taken after a repair, by rule.", ("rule",)
        )
        self._frames = measures.counter(
            "chargeplane_ocpp_unreadable_frames", "Messages that were no OCPP-J message, or an answer to nothing.", ()
        )
        self.unreadable = self._frames.cell()
        self.slowed = measures.counter(
            "chargeplane_ocpp_slowed", "How often a socket was read later because of its backlog or a full loop.", ()
        ).cell()

    def calls(self, version: str, from_station: bool) -> CallBuckets:
        """The latency buckets of one version and direction, made as they are needed."""
        return CallBuckets(self._calls.cell, version, "in" if from_station else "out")

    def handshake(self, outcome: str) -> None:
        """A handshake ended."""
        self._handshakes.cell(outcome)[0] += 1

    def closed(self, code: int) -> None:
        """A socket ended; 1006 where there was no close frame."""
        self._closed.cell(str(code))[0] += 1

    def repaired(self, rule: str) -> None:
        """A repair rule was applied."""
        self._repairs.cell(rule)[0] += 1


class CallBuckets(dict[tuple[str, str], Buckets]):
    """Latency buckets by (action, outcome)."""

    __slots__ = ("_cell", "_direction", "_version")

    def __init__(self, cell: Callable[..., Buckets], version: str, direction: str) -> None:
        super().__init__()
        self._cell = cell
        self._version = version
        self._direction = direction

    def __missing__(self, key: tuple[str, str]) -> Buckets:
        buckets = self[key] = self._cell(self._version, self._direction, key[0], key[1])
        return buckets
