"""/public: what tenants publish to everybody, for national access points (AFIR). No key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from chargeplane.edges.http.allowances import Allowance
from chargeplane.edges.http.services import Services

_XML: Final = "application/xml"
_FILE: Final = {"public": True, "files": (_XML,)}
_JSON: Final = "application/json"
_JSON_FILE: Final = {"public": True, "files": (_JSON,)}
_PER_MINUTE: Final = 30
"""Publications an address may ask for: a national access point asks once a minute at most."""


def public_data_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    public, writer = services.business.public_data, services.business.publications
    allowance = Allowance(_PER_MINUTE, _PER_MINUTE)

    def guard(request: Request[Any, Any, Any]) -> None:
        allowance.require(request.client.host if request.client else "")

    @get("/public/{tenant:str}/datex2/table", tags=["locations"], opt=_FILE)
    async def datex2_table(request: Request[Any, Any, Any], tenant: FromPath[str]) -> Stream:
        """Published locations with stations, charging points, connectors and prices, as an EnergyInfrastructureTablePublication of
        DATEX II 3.7 (AFIR). 404 where the tenant does not publish."""
        guard(request)
        tenant_id, publisher = await public.publisher(tenant)
        content = writer.table(publisher, datetime.now(UTC), public.parts(tenant_id, publisher))
        return Stream(content, media_type=_XML, headers={"Cache-Control": "public, max-age=60"})

    @get("/public/{tenant:str}/datex2/status", tags=["locations"], opt=_FILE)
    async def datex2_status(request: Request[Any, Any, Any], tenant: FromPath[str]) -> Stream:
        """The status of their charging points, as an EnergyInfrastructureStatusPublication of DATEX II 3.7 (AFIR). 404 where the tenant
        does not publish."""
        guard(request)
        tenant_id, publisher = await public.publisher(tenant)
        content = writer.status(publisher, datetime.now(UTC), public.parts(tenant_id, publisher))
        return Stream(content, media_type=_XML, headers={"Cache-Control": "public, max-age=10"})

    lists = services.business.public_lists

    @get("/public/{tenant:str}/ocpi/2.3.0/locations", tags=["locations"], opt=_JSON_FILE)
    async def ocpi_locations(request: Request[Any, Any, Any], tenant: FromPath[str]) -> Stream:
        """Published locations with status and public tariffs, as OCPI 2.3.0 Locations in its envelope, all of them. 404 where the tenant
        does not publish."""
        guard(request)
        tenant_id, publisher = await public.publisher(tenant)
        content = lists.locations(publisher, datetime.now(UTC), public.parts(tenant_id, publisher))
        return Stream(content, media_type=_JSON, headers={"Cache-Control": "public, max-age=10"})

    @get("/public/{tenant:str}/ocpi/2.3.0/tariffs", tags=["locations"], opt=_JSON_FILE)
    async def ocpi_tariffs(request: Request[Any, Any, Any], tenant: FromPath[str]) -> Stream:
        """What the public pays at published locations, as OCPI 2.3.0 Tariffs in its envelope. 404 where the tenant does not publish."""
        guard(request)
        tenant_id, publisher = await public.publisher(tenant)
        content = lists.tariffs(publisher, datetime.now(UTC), public.parts(tenant_id, publisher))
        return Stream(content, media_type=_JSON, headers={"Cache-Control": "public, max-age=60"})

    return [datex2_table, datex2_status, ocpi_locations, ocpi_tariffs]
