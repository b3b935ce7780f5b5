"""Where a session is: what rating, agreements, payments and bookings ask of an EVSE."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.locations.model import ConnectorContent, PaymentMethod
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.locations import PlaceRow


class EvsePlace(Struct, frozen=True, kw_only=True):
    """An EVSE of a location.

    Args:
        location_id, evse_uid: as in `/v1/locations`.
        evse_id: such as `DE*ABC*E1234`; None where none was given.
        code: public, in the QR code on it.
        time_zone: of the location.
        country: ISO 3166-1 alpha-2, `country_alpha3` as OCPI has it.
        connector: the one that was asked for; the only one where none was; None where that does not tell.
        connectors: all of them, in the order of the station's numbers.
        payment_methods: empty: nothing is said.
        station_key, station_id, ocpp_evse_id: what it is bound to; None where it is bound to nothing.
    """

    tenant_id: TenantId
    location_id: str
    location_name: str | None
    evse_uid: str
    evse_id: str | None
    code: str
    time_zone: ZoneInfo
    country: str
    country_alpha3: str
    connector: ConnectorContent | None
    connectors: tuple[ConnectorContent, ...]
    payment_methods: tuple[PaymentMethod, ...]
    station_key: StationKey | None
    station_id: str | None
    ocpp_evse_id: int | None

    @property
    def connector_id(self) -> str | None:
        """OCPI's id of the connector."""
        return None if self.connector is None else self.connector.id

    @property
    def tariff_ids(self) -> tuple[str, ...]:
        """The tariffs of the connector; of all connectors where it is not known which."""
        if self.connector is not None:
            return self.connector.tariff_ids
        return tuple(dict.fromkeys(ident for connector in self.connectors for ident in connector.tariff_ids))


def place_of(row: PlaceRow, ocpp_connector_id: int | None) -> EvsePlace:
    """A row as a place.

    Args:
        ocpp_connector_id: the station's number of the connector; None or 0: not known.
    """
    chosen = [one for one in row.connectors if one.ocpp_connector_id == ocpp_connector_id]
    if not chosen and len(row.connectors) == 1:
        chosen = row.connectors
    return EvsePlace(
        tenant_id=row.tenant_id,
        location_id=row.location_id,
        location_name=row.location_name,
        evse_uid=row.evse_uid,
        evse_id=row.evse_id,
        code=row.code,
        time_zone=ZoneInfo(row.time_zone),
        country=ALPHA2[row.country],
        country_alpha3=row.country,
        connector=chosen[0] if chosen else None,
        connectors=tuple(row.connectors),
        payment_methods=tuple(PaymentMethod(word) for word in row.payment_methods),
        station_key=row.station_key,
        station_id=row.station_id,
        ocpp_evse_id=row.ocpp_evse_id,
    )
