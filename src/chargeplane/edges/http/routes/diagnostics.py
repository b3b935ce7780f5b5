"""Logs of stations, and the files they uploaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from chargeplane.app.api_keys import Scope
from chargeplane.app.logs import LogOrder
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import StationIdPath, Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.uploads import UPLOAD_SORTS, UploadView

_KIND = "upload"

UploadState = Literal["open", "receiving", "received", "canceled", "expired", "deleted"]


def diagnostics_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    uploads = services.subjects.uploads
    logs = services.subjects.logs

    @post(
        "/v1/charging-stations/{station_id:str}/logs",
        tags=["diagnostics"],
        opt={"scope": Scope.DIAGNOSTICS_WRITE},
        status_code=202,
    )
    async def get_log_of_charging_station(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[LogOrder],
        wait_s: Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the answer.")] = 0.0,
    ) -> Response[UploadView]:
        """Asks a station for a log. It uploads it to a one-time address of this server; look at the upload again. A new request takes
        the place of one that goes on, where the station says so. OCPP 1.6 stations without the security extension are asked by
        GetDiagnostics."""
        view = await logs.order(caller_of(request), station_id, data, wait_s=wait_s)
        return Response(view, headers={"Location": f"/v1/uploads/{quote(view.id)}"})

    @get("/v1/uploads", tags=["diagnostics"], opt={"scope": Scope.DIAGNOSTICS_READ, "sorts": UPLOAD_SORTS})
    async def list_uploads(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        wanted_state: Annotated[UploadState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[UploadView]:
        """Files that stations uploaded, or are to upload, newest first."""
        after = begin(request, cursor, sort)
        found = await uploads.page(caller_of(request), station_id, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/uploads/{id:str}", tags=["diagnostics"], opt={"scope": Scope.DIAGNOSTICS_READ})
    async def get_upload(request: Request[Any, Any, Any], id: FromPath[str]) -> UploadView:
        """An upload."""
        return await uploads.one(caller_of(request), ident_of(_KIND, id))

    @get(
        "/v1/uploads/{id:str}/file",
        tags=["diagnostics"],
        opt={"scope": Scope.DIAGNOSTICS_READ, "files": ("application/octet-stream",)},
    )
    async def get_upload_file(request: Request[Any, Any, Any], id: FromPath[str]) -> Stream:
        """The file that came. It is given as bytes to be saved, whatever the station calls it."""
        found, body = await uploads.file(caller_of(request), ident_of(_KIND, id))
        name = quote(found.name or f"upload-{id}", safe="")
        return Stream(
            body,
            media_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "Content-Length": str(found.size_bytes),
                "X-Content-Type-Options": "nosniff",
            },
        )

    @delete("/v1/uploads/{id:str}/file", tags=["diagnostics"], opt={"scope": Scope.DIAGNOSTICS_WRITE}, status_code=204)
    async def delete_upload_file(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Deletes the file."""
        await uploads.delete(caller_of(request), ident_of(_KIND, id))

    return [get_log_of_charging_station, list_uploads, get_upload, get_upload_file, delete_upload_file]
