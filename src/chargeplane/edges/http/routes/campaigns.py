"""Firmware campaigns."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.campaigns import NewCampaign
from chargeplane.domain.campaigns import CampaignState, StationState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.campaigns import (
    CAMPAIGN_SORTS,
    CAMPAIGN_STATION_SORTS,
    CampaignStationView,
    CampaignView,
)

_KIND = "firmware campaign"
_READ = {"scope": Scope.FIRMWARE_READ}
_WRITE = {"scope": Scope.FIRMWARE_WRITE}


class Resumption(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a campaign goes on.

    Args:
        retry_failed: with those that failed, too.
    """

    retry_failed: bool = False


def campaign_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    campaigns = services.subjects.campaigns

    @post("/v1/firmware-campaigns", tags=["firmware"], opt=_WRITE, status_code=201)
    async def create_firmware_campaign(
        request: Request[Any, Any, Any], data: JSONBody[NewCampaign]
    ) -> Response[CampaignView]:
        """Brings a firmware to many stations, wave by wave. It stops by itself where too many fail. A station has succeeded when its
        next boot tells the new version. Live: `firmware_campaign.updated`."""
        view = await campaigns.create(caller_of(request), data)
        return Response(view, status_code=201, headers={"Location": f"/v1/firmware-campaigns/{quote(view.id)}"})

    @get("/v1/firmware-campaigns", tags=["firmware"], opt={**_READ, "sorts": CAMPAIGN_SORTS})
    async def list_firmware_campaigns(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[CampaignState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CampaignView]:
        """Campaigns, newest first."""
        after = begin(request, cursor, sort)
        found = await campaigns.page(caller_of(request), wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/firmware-campaigns/{id:str}", tags=["firmware"], opt=_READ)
    async def get_firmware_campaign(request: Request[Any, Any, Any], id: FromPath[str]) -> CampaignView:
        """A campaign with its progress."""
        return await campaigns.one(caller_of(request), ident_of(_KIND, id))

    @get("/v1/firmware-campaigns/{id:str}/stations", tags=["firmware"], opt={**_READ, "sorts": CAMPAIGN_STATION_SORTS})
    async def list_firmware_campaign_stations(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        wanted_state: Annotated[StationState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CampaignStationView]:
        """The stations of a campaign, wave by wave, and what became of each."""
        after = begin(request, cursor, sort)
        ident = ident_of(_KIND, id)
        found = await campaigns.stations(caller_of(request), ident, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/firmware-campaigns/{id:str}/pause", tags=["firmware"], opt=_WRITE, status_code=200)
    async def pause_firmware_campaign(request: Request[Any, Any, Any], id: FromPath[str]) -> CampaignView:
        """Asks no more stations; those that are at it finish."""
        return await campaigns.pause(caller_of(request), ident_of(_KIND, id))

    @post("/v1/firmware-campaigns/{id:str}/resume", tags=["firmware"], opt=_WRITE, status_code=200)
    async def resume_firmware_campaign(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Resumption]
    ) -> CampaignView:
        """Goes on with a campaign that is paused or has stopped. What failed before stops it no more."""
        return await campaigns.resume(caller_of(request), ident_of(_KIND, id), retry_failed=data.retry_failed)

    @post("/v1/firmware-campaigns/{id:str}/cancel", tags=["firmware"], opt=_WRITE, status_code=200)
    async def cancel_firmware_campaign(request: Request[Any, Any, Any], id: FromPath[str]) -> CampaignView:
        """Ends a campaign; stations that are at it finish."""
        return await campaigns.cancel(caller_of(request), ident_of(_KIND, id))

    return [
        create_firmware_campaign,
        list_firmware_campaigns,
        get_firmware_campaign,
        list_firmware_campaign_stations,
        pause_firmware_campaign,
        resume_firmware_campaign,
        cancel_firmware_campaign,
    ]
