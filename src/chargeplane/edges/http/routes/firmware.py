"""Firmware files, and updates of single stations."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from chargeplane.app.api_keys import Scope
from chargeplane.app.firmware import FirmwareLabels, FirmwareOrder
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.forms import FormError, boundary_of, read_form
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import ProblemError
from chargeplane.edges.http.routes.common import StationIdPath, Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import refuse_unstorable
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.text import made_storable
from chargeplane.store.files import TooLargeError
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.firmware import FIRMWARE_SORTS, FirmwareView

_KIND = "firmware"


def firmware_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    firmware = services.subjects.firmware

    @post(
        "/v1/firmware",
        tags=["firmware"],
        opt={"scope": Scope.FIRMWARE_WRITE, "streams": True},
        status_code=201,
        request_max_body_size=None,
    )
    async def add_firmware(request: Request[Any, Any, Any]) -> Response[FirmwareView]:
        """Takes a firmware file: a form (multipart/form-data) with the `file`, its `version` as the boot of a station with it will say,
        and `vendor`, `model`, and either `signature` (Base64) with `signing_certificate` (PEM), or `sign` = `true` to have the house
        sign it."""
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is None:
            raise ProblemError(415, "unsupported-media-type", "Send a form: multipart/form-data with the file.")
        async with firmware.incoming() as file:
            try:
                form = await read_form(boundary, request.stream(), file.write)
            except FormError as error:
                raise ProblemError(400, "malformed-request", str(error)) from error
            except TooLargeError as error:
                raise ProblemError(413, "too-large", str(error)) from error
            labels = _labels(form.fields)
            name = made_storable((form.filename or "firmware").replace("\\", "/").rpartition("/")[2], 255)
            view = await firmware.add(caller_of(request), name or "firmware", labels, await file.finish())
        return Response(view, status_code=201, headers={"Location": f"/v1/firmware/{quote(view.id)}"})

    @get("/v1/firmware", tags=["firmware"], opt={"scope": Scope.FIRMWARE_READ, "sorts": FIRMWARE_SORTS})
    async def list_firmware(
        request: Request[Any, Any, Any],
        vendor: Text = None,
        model: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[FirmwareView]:
        """Firmware files, newest first."""
        after = begin(request, cursor, sort)
        found = await firmware.page(caller_of(request), vendor, model, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/firmware/{id:str}", tags=["firmware"], opt={"scope": Scope.FIRMWARE_READ})
    async def get_firmware(request: Request[Any, Any, Any], id: FromPath[str]) -> FirmwareView:
        """A firmware file, with the address where stations fetch it."""
        return await firmware.one(caller_of(request), ident_of(_KIND, id))

    @delete("/v1/firmware/{id:str}", tags=["firmware"], opt={"scope": Scope.FIRMWARE_WRITE}, status_code=204)
    async def delete_firmware(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Deletes a firmware file. 409 where a campaign needs it."""
        await firmware.delete(caller_of(request), ident_of(_KIND, id))

    @post(
        "/v1/charging-stations/{station_id:str}/firmware-updates",
        tags=["firmware"],
        opt={"scope": Scope.FIRMWARE_WRITE},
        status_code=202,
    )
    async def update_firmware(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[FirmwareOrder],
        wait_s: Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the answer.")] = 0.0,
    ) -> Response[CommandView]:
        """Updates one station with a firmware of ours, by the command update_firmware. What the station tells about it stands under
        /v1/charging-stations/{station_id}/requests?kind=firmware."""
        view = await firmware.update(caller_of(request), station_id, data, wait_s=wait_s)
        return Response(view, headers={"Location": f"/v1/commands/{quote(view.id)}"})

    return [add_firmware, list_firmware, get_firmware, delete_firmware, update_firmware]


def _labels(fields: dict[str, str]) -> FirmwareLabels:
    given: dict[str, Any] = {name: text for name, text in fields.items() if text}
    sign = given.pop("sign", "false")
    if sign not in ("true", "false"):
        raise InvalidInputError("'sign' is true or false.", (("/sign", "true or false"),))
    refuse_unstorable(given, "", 0)
    try:
        return msgspec.convert({**given, "sign": sign == "true"}, FirmwareLabels)
    except msgspec.ValidationError as error:
        sentence = str(error)
        found = sentence.rpartition("`$.")[2].rstrip("`") if "`$." in sentence else "version"
        raise InvalidInputError(f"{sentence}.", ((f"/{found}", sentence),)) from error
