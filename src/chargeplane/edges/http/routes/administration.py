"""/v1/api-keys and /v1/tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.domain.cdrs.session import SignedPolicy
from chargeplane.domain.local_lists import ListPolicy
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.api_keys import API_KEY_SORTS, ApiKeyView
from chargeplane.store.queries.tenants import TENANT_SORTS, PublicDataSettings, TenantSettings, TenantView

Name = Annotated[str, Meta(min_length=1, max_length=255)]
_ADMIN = {"scope": Scope.ADMIN}


class NewApiKey(Struct, kw_only=True, forbid_unknown_fields=True):
    """An API key to be made.

    Args:
        tenant: slug of another tenant, for administrators of the default tenant only.
    """

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=50)]
    expires_at: datetime | None = None
    tenant: str | None = None


class MadeApiKey(ApiKeyView, frozen=True, kw_only=True):
    """A new API key. `key` is shown here and never again."""

    key: str


class NewTenant(Struct, kw_only=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    slug: str
    name: Name
    settings: TenantSettings = TenantSettings()


class TenantSettingsPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings to change; what is left out stays."""

    unknown_stations: Literal["refuse", "pending"] | UnsetType = UNSET
    heartbeat_interval_s: Annotated[int, Meta(ge=1, le=604_800)] | UnsetType | None = UNSET
    master_pass_group_id: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET
    trusted_token_types: (
        Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=20)], ...], Meta(max_length=20)] | UnsetType
    ) = UNSET
    authorization_cache_s: Annotated[int, Meta(ge=0, le=31_536_000)] | UnsetType | None = UNSET
    stop_deauthorized: bool | UnsetType = UNSET
    local_list: ListPolicy | UnsetType | None = UNSET
    show_costs: bool | UnsetType = UNSET
    signed_meter_values: SignedPolicy | UnsetType = UNSET
    trust_station_keys: bool | UnsetType = UNSET
    public_data: PublicDataSettings | UnsetType | None = UNSET


class TenantPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a tenant; what is left out stays."""

    name: Name | UnsetType = UNSET
    settings: TenantSettingsPatch = msgspec.field(default_factory=TenantSettingsPatch)


def administration_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    keys, tenants = services.api_keys, services.tenants

    @post("/v1/api-keys", tags=["administration"], opt={**_ADMIN, "secret": True})
    async def create_api_key(request: Request[Any, Any, Any], data: JSONBody[NewApiKey]) -> Response[MadeApiKey]:
        """Makes an API key; its text is in this answer only."""
        caller = caller_of(request)
        owner = caller.tenant_id if data.tenant is None else await tenants.id_of(caller, data.tenant)
        view, key = await keys.create(caller, data.name, data.scopes, data.expires_at, owner)
        made = MadeApiKey(**msgspec.structs.asdict(view), key=key)
        return Response(made, headers={"Location": f"/v1/api-keys/{view.id}"})

    @get("/v1/api-keys", tags=["administration"], opt={**_ADMIN, "sorts": API_KEY_SORTS})
    async def list_api_keys(
        request: Request[Any, Any, Any], q: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[ApiKeyView]:
        """API keys that are not revoked, newest first. `q` is looked for in their names."""
        after = begin(request, cursor, sort)
        found = await keys.page(caller_of(request).tenant_id, q, limit + 1, after)
        return page_of(request, found, limit, after)

    @delete("/v1/api-keys/{id:str}", tags=["administration"], opt=_ADMIN)
    async def revoke_api_key(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Makes an API key worthless at once."""
        await keys.revoke(caller_of(request), ident_of("API key", id))

    @post("/v1/tenants", tags=["administration"], opt=_ADMIN)
    async def create_tenant(request: Request[Any, Any, Any], data: JSONBody[NewTenant]) -> Response[TenantView]:
        """Makes a tenant; for administrators of the default tenant."""
        view = await tenants.create(caller_of(request), data.slug, data.name, data.settings)
        return Response(view, headers={"Location": f"/v1/tenants/{view.slug}"})

    @get("/v1/tenants", tags=["administration"], opt={**_ADMIN, "sorts": TENANT_SORTS})
    async def list_tenants(
        request: Request[Any, Any, Any], q: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[TenantView]:
        """Tenants in the order of their slugs; for administrators of the default tenant. `q` is looked for in slug and name."""
        after = begin(request, cursor, sort)
        found = await tenants.page(caller_of(request), q, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/tenants/{slug:str}", tags=["administration"], opt=_ADMIN)
    async def get_tenant(request: Request[Any, Any, Any], slug: FromPath[str]) -> TenantView:
        """A tenant; for administrators of the default tenant."""
        return await tenants.one(caller_of(request), slug)

    @patch("/v1/tenants/{slug:str}", tags=["administration"], opt=_ADMIN)
    async def update_tenant(
        request: Request[Any, Any, Any], slug: FromPath[str], data: JSONBody[TenantPatch]
    ) -> TenantView:
        """Changes a tenant's name or settings; for administrators of the default tenant."""
        name = None if isinstance(data.name, UnsetType) else data.name
        changed = {k: v for k, v in msgspec.structs.asdict(data.settings).items() if v is not UNSET}
        return await tenants.change(caller_of(request), slug, name, changed)

    return [
        create_api_key,
        list_api_keys,
        revoke_api_key,
        create_tenant,
        list_tenants,
        get_tenant,
        update_tenant,
    ]
