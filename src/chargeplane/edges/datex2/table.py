"""The static publication: a site with its stations, charging points, connectors and prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from chargeplane.app.public_data import PublicEvse, PublicLocation
from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.locations.model import GeoPoint, Hours, PaymentMethod, PowerType
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.edges.datex2.prices import energy_rate
from chargeplane.edges.datex2.words import (
    PLUG_AND_CHARGE,
    connector_format,
    connector_type,
    identified_by,
    site_type,
)
from chargeplane.edges.datex2.xml import attribute, instant, leaf, node, texts
from chargeplane.store.queries.locations import ConnectorView, LocationView

_EVSE_ID: Final = "evseId"
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class TableWriter:
    """Writes sites one after the other. A rate is written where it is met first, and referred to from then on: its id may stand once
    in a publication.

    Args:
        language: of names that have no language of their own.
    """

    def __init__(self, language: str) -> None:
        self._language = language
        self._rates: set[str] = set()

    def site(self, place: PublicLocation, tariffs: Mapping[str, Tariff]) -> str:
        """A location.

        Args:
            tariffs: what the public pays, by id.
        """
        location, zone = place.view, ZoneInfo(place.view.time_zone)
        return node(
            "aegi:energyInfrastructureSite",
            texts("afac:name", self._named(location.name)),
            leaf("afac:lastUpdated", instant(location.last_updated)),
            *(texts("afac:additionalInformation", [(text.language, text.text)]) for text in location.directions),
            _website(location),
            *(
                node("afac:photoUrl", leaf("com:urlLinkAddress", image.url))
                for image in [image for image in location.images if image.url][:5]
            ),
            _opening(location.opening_times, location, zone),
            self._where(location, location.coordinates),
            self._organisation("afac:owner", location.owner.name if location.owner else None),
            self._operator(place),
            self._helpdesk(place),
            leaf("aegi:typeOfSite", site_type(location.parking_type)),
            texts("aegi:brand", self._named(location.operator.name if location.operator else None)),
            *(self._station(place, ident, points, tariffs, zone) for ident, points in place.stations.items()),
            attributes=_ident(location.id, location.revision),
        )

    def _station(
        self,
        place: PublicLocation,
        ident: str,
        points: Sequence[PublicEvse],
        tariffs: Mapping[str, Tariff],
        zone: ZoneInfo,
    ) -> str:
        capabilities = frozenset(word for point in points for word in point.view.capabilities)
        paying = frozenset(method for point in points for method in point.view.payment_methods)
        updated = max(point.view.last_updated for point in points)
        providers = dict.fromkeys(name for point in points for name in point.view.accepted_service_providers)
        mix = place.view.energy_mix
        return node(
            "aegi:energyInfrastructureStation",
            leaf("afac:lastUpdated", instant(updated)),
            self._where(place.view, points[0].view.coordinates or place.view.coordinates),
            *(
                leaf("aegi:authenticationAndIdentificationMethods", word)
                for word in identified_by(capabilities, paying)
            ),
            leaf("aegi:numberOfRefillPoints", len(points)),
            leaf("aegi:renewableSources", None if mix is None else str(mix.is_green_energy).lower()),
            *(self._organisation("aegi:mobilityServiceProvider", name) for name in providers),
            *(self._point(place, point, tariffs, zone) for point in points),
            attributes=_ident(ident, max(point.view.revision for point in points)),
        )

    def _point(self, place: PublicLocation, point: PublicEvse, tariffs: Mapping[str, Tariff], zone: ZoneInfo) -> str:
        evse = point.view
        connectors = evse.connectors
        direct = any(connector.power_type is PowerType.DC for connector in connectors)
        capable = {word for connector in connectors for word in connector.capabilities}
        paying = frozenset(evse.payment_methods)
        plug_and_charge = bool(capable & PLUG_AND_CHARGE) or PaymentMethod.PLUG_AND_CHARGE in paying
        return node(
            "aegi:refillPoint",
            texts("afac:name", self._named(evse.physical_reference)),
            leaf("afac:lastUpdated", instant(evse.last_updated)),
            *(texts("afac:additionalInformation", [(text.language, text.text)]) for text in evse.directions),
            _external(evse.evse_id, _EVSE_ID),
            self._where(place.view, evse.coordinates) if evse.coordinates else "",
            leaf("aegi:deliveryUnit", "kWh"),
            leaf("aegi:reservation", "optional" if "RESERVABLE" in evse.capabilities else "notAvailable"),
            self._product(point, tariffs, zone),
            leaf("aegi:currentType", "dc" if direct else "ac"),
            leaf("aegi:usageType", "electricVehicle"),
            leaf("aegi:vehicleToGridCommunicationType", "iso15118" if plug_and_charge else None),
            leaf("aegi:numberOfConnectors", len(connectors)),
            *(leaf("aegi:availableVoltage", volts) for volts in sorted({item.max_voltage for item in connectors})),
            *(
                leaf("aegi:availableChargingPower", watts)
                for watts in sorted({item.max_power_w for item in connectors})
            ),
            leaf("aegi:chargingMode", _mode(connectors, direct)),
            leaf("aegi:smartRechargingServices", "plugAndCharge" if plug_and_charge else None),
            *(_connector(connector) for connector in connectors),
            attributes=' xsi:type="aegi:ElectricChargingPoint"' + _ident(point.ident, evse.revision),
        )

    def _product(self, point: PublicEvse, tariffs: Mapping[str, Tariff], zone: ZoneInfo) -> str:
        tariff = tariffs.get(point.tariff_id) if point.tariff_id is not None else None
        if tariff is None:
            return ""
        # Local times and ways to pay are part of the rate, so one tariff can be several.
        methods = sorted(method.value for method in point.view.payment_methods)
        ident = "/".join([tariff.id, str(tariff.version), zone.key, *methods])
        mix = tariff.energy_mix
        green = leaf("aegi:isGreenEnergy", None if mix is None else str(mix.is_green_energy).lower())
        name = texts("aegi:energyProductName", self._named(mix.energy_product_name if mix else None))
        if ident in self._rates:
            reference = f'<aegi:energyRateByReference targetClass="aegi:EnergyRate" id={attribute(ident)}/>'
            return node("aegi:energyProduct", name, green, reference)
        self._rates.add(ident)
        return node("aegi:energyProduct", name, green, energy_rate(ident, tariff, zone, point.view.payment_methods))

    def _where(self, location: LocationView, point: GeoPoint) -> str:
        coordinates = leaf("loc:latitude", point.latitude) + leaf("loc:longitude", point.longitude)
        # The type is of one namespace, the element around it of another.
        address = node(
            "afac:address",
            leaf("locx:postcode", location.postal_code),
            texts("locx:city", self._named(location.city)),
            leaf("locx:countryCode", ALPHA2[location.country]),
            node(
                "locx:addressLine",
                leaf("locx:type", "generalTextLine"),
                texts("locx:text", self._named(location.address)),
                attributes=' order="0"',
            ),
        )
        return node(
            "afac:locationReference",
            node("loc:coordinatesForDisplay", coordinates),
            node("loc:_locationExtension", node("loc:afirFacilityLocation", address)),
            node("loc:pointByCoordinates", node("loc:pointCoordinates", coordinates)),
            attributes=' xsi:type="loc:PointLocation"',
        )

    def _named(self, name: str | None) -> list[tuple[str, str]]:
        return [] if name is None else [(self._language, name)]

    def _organisation(self, tag: str, name: str | None, *more: str) -> str:
        if name is None:
            return ""
        return node(tag, texts("afac:name", self._named(name)), *more, attributes=' xsi:type="afac:AnOrganisation"')

    def _operator(self, place: PublicLocation) -> str:
        operator = place.view.operator
        return self._organisation(
            "afac:operator",
            operator.name if operator is not None else place.operator_name,
            leaf("afac:linkToGeneralInformation", operator.website if operator is not None else None),
            _external(place.operator_id, "operatorId"),
        )

    def _helpdesk(self, place: PublicLocation) -> str:
        phone = place.view.help_phone
        if phone is None:
            return ""
        operator = place.view.operator
        contact = node(
            "afac:contactInformation",
            leaf("afac:telephoneNumber", phone),
            attributes=' xsi:type="afac:ContactInformation"',
        )
        return self._organisation(
            "afac:helpdesk",
            operator.name if operator is not None else place.operator_name,
            node("afac:organisationUnit", contact),
        )


def _ident(ident: str, revision: int) -> str:
    return f" id={attribute(ident)} version={attribute(str(revision))}"


def _external(identifier: str | None, kind: str) -> str:
    """An id that others gave. The schema has a word for EVSE ids alone; others are named beside it."""
    if identifier is None:
        return ""
    if kind == _EVSE_ID:
        named = f'<afac:typeOfIdentifier _extendedValue="{_EVSE_ID}">_extended</afac:typeOfIdentifier>'
    else:
        named = leaf("afac:otherTypeOfIdentifier", kind)
    return node("afac:externalIdentifier", leaf("afac:identifier", identifier), named)


def _website(location: LocationView) -> str:
    site = location.operator.website if location.operator is not None else None
    return "" if site is None else node("afac:informationWebsite", leaf("com:urlLinkAddress", site))


def _opening(hours: Hours | None, location: LocationView, zone: ZoneInfo) -> str:
    if hours is None or (hours.twentyfourseven and not hours.exceptional_closings):
        return '<afac:operatingHours xsi:type="afac:OpenAllHours"/>'
    periods = []
    for day, word in enumerate(_DAYS, 1):
        spans = [span for span in hours.regular_hours if span.weekday == day]
        if spans:
            periods.append(
                node(
                    "com:validPeriod",
                    *(
                        node(
                            "com:recurringTimePeriodOfDay",
                            leaf("com:startTimeOfPeriod", f"{span.period_begin}:00"),
                            leaf("com:endTimeOfPeriod", f"{span.period_end}:00"),
                        )
                        for span in spans
                    ),
                    node("com:recurringDayWeekMonthPeriod", leaf("com:applicableDay", word)),
                )
            )
    periods += [
        _once("com:validPeriod", period.period_begin, period.period_end) for period in hours.exceptional_openings
    ]
    closed = [
        _once("com:exceptionPeriod", period.period_begin, period.period_end) for period in hours.exceptional_closings
    ]
    return node(
        "afac:operatingHours",
        leaf("afac:operatingAllYear", "true"),
        node(
            "afac:overallPeriod",
            leaf("com:overallStartTime", instant(location.created_at.astimezone(zone))),
            *periods,
            *closed,
        ),
        attributes=f' xsi:type="afac:OperatingHoursSpecification" id={attribute(location.id + "/hours")}'
        f' version="{location.revision}"',
    )


def _once(tag: str, begin: datetime, end: datetime) -> str:
    return node(tag, leaf("com:startOfPeriod", instant(begin)), leaf("com:endOfPeriod", instant(end)))


def _mode(connectors: Sequence[ConnectorView], direct: bool) -> str | None:
    if direct:
        return "mode4DC"
    return "mode3AC3p" if any(item.power_type is PowerType.AC_3_PHASE for item in connectors) else None


def _connector(connector: ConnectorView) -> str:
    word, other = connector_type(connector.standard)
    return node(
        "aegi:connector",
        leaf("aegi:connectorType", word),
        leaf("aegi:otherConnector", other),
        leaf("aegi:connectorFormat", connector_format(connector)),
        leaf("aegi:maxPowerAtSocket", connector.max_power_w),
        leaf("aegi:voltage", connector.max_voltage),
        leaf("aegi:maximumCurrent", connector.max_amperage),
    )
