"""Charging stations made of the package `ocpp` over `websockets`: one class a version, one mixin a subject."""

from __future__ import annotations

from typing import Any

from ocpp import v16, v21, v201
from tests.foreign.stations.files import Files2x, Files16
from tests.foreign.stations.limits import Limits2x, Limits16
from tests.foreign.stations.places import Places2x, Places16
from tests.foreign.stations.watching import Watching2x


class Station16(Files16, Places16, Limits16, v16.ChargePoint):
    """OCPP 1.6 with the security extension."""

    words, protocol, version = v16, "ocpp1.6", "1.6"


class Station201(Files2x, Places2x, Limits2x, Watching2x, v201.ChargePoint):
    """OCPP 2.0.1."""

    words, protocol, version = v201, "ocpp2.0.1", "2.0.1"


class Station21(Files2x, Places2x, Limits2x, Watching2x, v21.ChargePoint):
    """OCPP 2.1."""

    words, protocol, version = v21, "ocpp2.1", "2.1"


STATIONS: dict[str, Any] = {kind.version: kind for kind in (Station16, Station201, Station21)}
