"""The dynamic publication: what EVSEs can be used now, and what is planned for them."""

from __future__ import annotations

from collections.abc import Sequence

from chargeplane.app.public_data import PublicEvse, PublicLocation
from chargeplane.domain.locations.model import EvseStatus
from chargeplane.edges.datex2.words import STATUS
from chargeplane.edges.datex2.xml import attribute, instant, leaf, node


def site_status(place: PublicLocation) -> str:
    """The status of a location's EVSEs."""
    return node(
        "aegi:energyInfrastructureSiteStatus",
        _reference(place.view.id, place.view.revision),
        *(_station(ident, points) for ident, points in place.stations.items()),
    )


def _station(ident: str, points: Sequence[PublicEvse]) -> str:
    free = any(point.view.status is EvseStatus.AVAILABLE for point in points)
    return node(
        "aegi:energyInfrastructureStationStatus",
        _reference(ident, max(point.view.revision for point in points)),
        leaf("aegi:isAvailable", str(free).lower()),
        *(_point(point) for point in points),
    )


def _point(point: PublicEvse) -> str:
    planned = [
        node(
            "aegi:plannedRefillPointStatus",
            leaf("aegi:status", STATUS[period.status]),
            node(
                "aegi:overallPeriod",
                leaf("com:overallStartTime", instant(period.period_begin)),
                leaf("com:overallEndTime", None if period.period_end is None else instant(period.period_end)),
            ),
        )
        for period in point.view.status_schedule
    ]
    return node(
        "aegi:refillPointStatus",
        _reference(point.ident, point.view.revision),
        leaf("afac:lastUpdated", None if point.status_since is None else instant(point.status_since)),
        leaf("aegi:status", STATUS[point.view.status]),
        *planned,
        attributes=' xsi:type="aegi:ElectricChargingPointStatus"',
    )


def _reference(ident: str, revision: int) -> str:
    return (
        f'<afac:reference targetClass="afac:FacilityObject" id={attribute(ident)} version={attribute(str(revision))}/>'
    )
