"""/v1/quirks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Request, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta, Struct
from msgspec.structs import asdict

from chargeplane.app.api_keys import Scope
from chargeplane.domain.quirks import Origin, Quirk
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.services import Services


class QuirkRule(Quirk, frozen=True, kw_only=True, omit_defaults=True):
    """A rule about a vendor, model or firmware.

    Args:
        origin: built_in: of the package; file: of the operator; tenant: set here.
    """

    origin: Origin


class QuirkRules(Struct, kw_only=True, forbid_unknown_fields=True):
    """A tenant's own rules, in the order in which they are applied."""

    quirks: Annotated[tuple[Quirk, ...], Meta(max_length=200)]


class QuirkRuleList(Struct, kw_only=True):
    """All rules that hold for a tenant's stations."""

    quirks: Sequence[QuirkRule]


def _list(rules: Sequence[tuple[Quirk, Origin]]) -> QuirkRuleList:
    return QuirkRuleList(quirks=[QuirkRule(**asdict(rule), origin=origin) for rule, origin in rules])


def quirk_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    quirks = services.quirks

    @get("/v1/quirks", tags=["quirks"], opt={"scope": Scope.STATIONS_READ})
    async def list_quirks(request: Request[Any, Any, Any]) -> QuirkRuleList:
        """What vendors, models and firmwares are known for: rules of the package, of the operator's file, the tenant's own."""
        return _list(quirks.rules(caller_of(request)))

    @put("/v1/quirks", tags=["quirks"], opt={"scope": Scope.STATIONS_WRITE})
    async def put_quirks(request: Request[Any, Any, Any], data: JSONBody[QuirkRules]) -> QuirkRuleList:
        """Replaces the tenant's own rules; one of the same name as another takes its place, with `off` it ends it. They hold at once,
        for open connections too."""
        return _list(await quirks.replace(caller_of(request), data.quirks))

    return [list_quirks, put_quirks]
