"""The stations that are connected to this node, as the subjects see them that look after these by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chargeplane.app.actor import Actor
from chargeplane.app.ports import StationLink
from chargeplane.kernel.ids import NodeId, StationKey


class Presence(Protocol):
    """Implemented by app/stations.py."""

    @property
    def node_id(self) -> NodeId:
        """This node."""
        ...

    @property
    def connected_count(self) -> int:
        """Stations with a socket on this node."""
        ...

    def present(self) -> Sequence[Actor]:
        """The actors of these."""
        ...

    def link(self, key: StationKey) -> StationLink | None:
        """The socket of a station that is connected to this node."""
        ...

    def actor(self, key: StationKey) -> Actor:
        """A station's actor.

        Raises:
            NotFoundError: no such station.
        """
        ...
