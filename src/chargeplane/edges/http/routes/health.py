"""Health, readiness and metrics."""

from __future__ import annotations

from typing import Literal

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from chargeplane.edges.http.problems import ProblemError, to_response
from chargeplane.edges.http.services import Services

_PUBLIC = {"public": True}


class Health(Struct, frozen=True, kw_only=True):
    """The process runs."""

    status: Literal["ok"]


def health_routes(services: Services) -> list[HTTPRouteHandler]:
    """/healthz, /readyz, /metrics, and what stands in for the web: without a key."""

    @get("/healthz", tags=["health"], opt=_PUBLIC)
    async def get_health() -> Health:
        """Answers 200 as long as the process runs."""
        return Health(status="ok")

    @get("/readyz", tags=["health"], opt=_PUBLIC)
    async def get_readiness() -> Response[Health]:
        """Answers 200 only when stations can be taken and their messages committed; else 503 with the reasons."""
        failing = await services.readiness.failing()
        if failing:
            return to_response(503, "unavailable", " ".join(failing), path="/readyz")  # type: ignore[return-value]
        return Response(Health(status="ok"))

    @get("/metrics", tags=["health"], opt=_PUBLIC, media_type="text/plain", return_dto=None)
    async def get_metrics() -> Response[bytes]:
        """Prometheus exposition; of several workers with the label `worker`, whichever of them answers."""
        body, content_type = await services.metrics()
        # The framework names the charset of every text itself.
        return Response(body, media_type=content_type.replace("; charset=utf-8", ""))

    @get(["/", "/app", "/app/{path:path}"], opt=_PUBLIC, include_in_schema=False)
    async def get_web() -> Response[Health]:
        """Says that the web is not built yet."""
        raise ProblemError(
            404,
            "not-found",
            "The web console and the driver app are not built yet. The API is under /v1, its pages are at /docs.",
        )

    return [get_health, get_readiness, get_metrics, get_web]
