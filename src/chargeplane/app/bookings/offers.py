"""EVSEs on offer: what is looked for, and what a session would cost there."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.bookings.ports import Agreed, Agreements, AskAgreement
from chargeplane.app.tariffs import Tariffs
from chargeplane.app.tariffs.tariffs import PUBLIC
from chargeplane.domain.cdrs.included import terms_of
from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.locations.model import ConnectorContent, PaymentMethod
from chargeplane.domain.locations.opening import is_open
from chargeplane.domain.rating import Expected, Rating, Terms, estimate
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.booking_search import FreeEvse

_ENERGY_WH: Final = Decimal(20_000)
_LONGEST_PRICED_S: Final = 604_800


class Search(Struct, frozen=True, kw_only=True):
    """What a driver looks for.

    Args:
        near: latitude, longitude, radius in metres; or a location, or an EVSE.
        starts_at: None: now.
        energy_wh: what the car will take, for the price; None: 20 kWh.
        max_price: of the session, with taxes; EVSEs without a price are left out.
        available: an EVSE that nobody uses now.
        open: by the location's opening times, at the beginning.
        id_token, driver_id: whose agreement prices it.
    """

    ends_at: datetime
    starts_at: datetime | None = None
    near: tuple[float, float, float] | None = None
    location_id: str | None = None
    evse_uid: str | None = None
    standard: str | None = None
    current: str | None = None
    min_power_w: int | None = None
    payment_method: PaymentMethod | None = None
    energy_wh: Decimal | None = None
    max_price: Decimal | None = None
    available: bool = False
    open: bool = True
    id_token: str | None = None
    id_token_type: str | None = None
    driver_id: str | None = None


class Offer(Struct, frozen=True, kw_only=True):
    """An EVSE that may be had for the interval, and what a session there would cost.

    Args:
        connector: the first that fits.
        rating: None: no tariff says.
    """

    evse: FreeEvse
    connector: ConnectorContent
    tariff: Tariff | None
    rating: Rating | None
    agreed: Agreed | None


class Prices:
    """What a session would cost at EVSEs; each tariff is read and each price worked out once for a search."""

    def __init__(
        self,
        tariffs: Tariffs,
        agreements: Agreements,
        tenant_id: TenantId,
        search: Search,
        starts_at: datetime,
        ends_at: datetime,
    ) -> None:
        self._tariffs = tariffs
        self._agreements = agreements
        self._tenant_id = tenant_id
        self._search = search
        self._starts_at = starts_at
        self._interval_s = min(int((ends_at - starts_at).total_seconds()), _LONGEST_PRICED_S)
        self._holding: dict[tuple[str, ...], Tariff | None] = {}
        self._rated: dict[tuple[str, int, int, str, str | None], Rating] = {}

    async def offer(self, evse: FreeEvse, connector_id: str | None = None) -> Offer:
        """An EVSE with its price.

        Raises:
            InvalidInputError: it has no such connector.
        """
        chosen = [
            one for one in evse.connectors if connector_id is None or one.id.casefold() == connector_id.casefold()
        ]
        if not chosen:
            raise wrong("connector_id", f"'{evse.uid}' has no connector '{connector_id}'")
        agreed = await self._agreed(evse)
        connector, tariff = chosen[0], None
        if agreed is not None and agreed.tariff_id is not None:
            tariff = await self._named(agreed.tariff_id, agreed.tariff_version)
        else:
            for one in chosen:
                tariff = await self._at(one.tariff_ids)
                if tariff is not None:
                    connector = one
                    break
        rating = None if tariff is None else self._rate(tariff, connector.power_w, evse.time_zone, agreed)
        return Offer(evse=evse, connector=connector, tariff=tariff, rating=rating, agreed=agreed)

    async def _agreed(self, evse: FreeEvse) -> Agreed | None:
        search = self._search
        if search.id_token is None and search.driver_id is None:
            return None
        return await self._agreements.agreed(
            self._tenant_id,
            AskAgreement(
                id_token=search.id_token,
                id_token_type=search.id_token_type,
                driver_id=search.driver_id,
                evse_uid=evse.uid,
                location_id=evse.location_id,
                station_id=evse.station_id,
                country=ALPHA2[evse.country],
                at=self._starts_at,
            ),
        )

    async def _at(self, tariff_ids: tuple[str, ...]) -> Tariff | None:
        if tariff_ids not in self._holding:
            found = await self._tariffs.at_connector(self._tenant_id, tariff_ids, self._starts_at)
            if found is None and self._search.id_token is None:
                found = await self._tariffs.at_connector(self._tenant_id, tariff_ids, self._starts_at, PUBLIC)
            self._holding[tariff_ids] = found
        return self._holding[tariff_ids]

    async def _named(self, tariff_id: str, version: int | None) -> Tariff | None:
        key = (tariff_id, str(version))
        if key not in self._holding:
            self._holding[key] = (
                await self._tariffs.version_of(self._tenant_id, tariff_id, self._starts_at)
                if version is None
                else await self._tariffs.frozen(self._tenant_id, tariff_id, version)
            )
        return self._holding[key]

    def _rate(self, tariff: Tariff, power_w: int, time_zone: str, agreed: Agreed | None) -> Rating:
        key = (tariff.id, tariff.version, power_w, time_zone, None if agreed is None else agreed.terms.agreement_id)
        if key not in self._rated:
            energy = self._search.energy_wh or _ENERGY_WH
            takes = int(min(energy * 3600 / max(power_w, 1), Decimal(self._interval_s)))
            expected = Expected(
                at=self._starts_at,
                duration_s=max(takes, 1),
                power_w=min(Decimal(power_w), energy * 3600 / max(takes, 1)),
            )
            self._rated[key] = estimate(expected, tariff, ZoneInfo(time_zone), terms=_discounted(agreed, tariff))
        return self._rated[key]


def _discounted(agreed: Agreed | None, tariff: Tariff) -> Terms:
    """An agreement's discounts and surcharges. What is left of its allowances then is not known, so they are left out."""
    if agreed is None or agreed.currency is None:
        return Terms()
    return replace(terms_of(agreed.items, agreed.currency, tariff, {}).terms, allowances=())


def is_open_at(evse: FreeEvse, at: datetime) -> bool:
    """Whether the location of an EVSE is open then, by its opening times."""
    return is_open(evse.location.opening_times, at, ZoneInfo(evse.time_zone))


def whole(at: datetime) -> datetime:
    """The second a moment lies in: bookings are to the second."""
    return as_utc(at).replace(microsecond=0)


def wrong(name: str, sentence: str) -> InvalidInputError:
    """The error that names a field."""
    return InvalidInputError(f"'{name}' is wrong: {sentence}.", ((f"/{name}", sentence),))
