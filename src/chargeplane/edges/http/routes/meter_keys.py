"""Public keys of stations' meters, and signed meter values of sessions."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.cdrs.meter_keys import SignedValuesView
from chargeplane.domain.ocmf import Curve
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Page
from chargeplane.edges.http.routes.common import StationIdPath, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.meter_keys import MeterKeyView


class NewMeterKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key of a meter.

    Args:
        public_key: PEM, or hexadecimal or base64 of a SubjectPublicKeyInfo or of a point.
        curve: of a bare point, where its length leaves several.
        ocpp_evse_id: the station's number of the EVSE; null: all of them.
        meter_serial: as OCMF has it (MS); null: whatever it says.
    """

    public_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    curve: Curve | None = None
    ocpp_evse_id: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    meter_serial: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


def meter_key_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    keys = services.business.meter_keys
    path = "/v1/charging-stations/{station_id:str}/meter-public-keys"

    @get(path, tags=["sessions"], opt={"scope": Scope.STATIONS_READ})
    async def list_meter_public_keys(request: Request[Any, Any, Any], station_id: StationIdPath) -> Page[MeterKeyView]:
        """The public keys of a station's meters, the retired ones too; newest first, all on one page."""
        return Page(items=await keys.all(caller_of(request), station_id), next_cursor=None)

    @post(path, tags=["sessions"], opt={"scope": Scope.STATIONS_WRITE})
    async def register_meter_public_key(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[NewMeterKey]
    ) -> MeterKeyView:
        """Registers a key; one that the station sent along is trusted from then on."""
        return await keys.register(
            caller_of(request), station_id, data.public_key, data.curve, data.ocpp_evse_id, data.meter_serial
        )

    @delete(path + "/{key_id:str}", tags=["sessions"], opt={"scope": Scope.STATIONS_WRITE}, status_code=204)
    async def retire_meter_public_key(
        request: Request[Any, Any, Any], station_id: StationIdPath, key_id: FromPath[str]
    ) -> None:
        """Uses a key no more; what was verified with it stays verified."""
        await keys.retire(caller_of(request), station_id, ident_of("meter public key", key_id))

    @get("/v1/sessions/{session_id:str}/signed-meter-values", tags=["sessions"], opt={"scope": Scope.SESSIONS_READ})
    async def list_signed_meter_values(request: Request[Any, Any, Any], session_id: FromPath[str]) -> SignedValuesView:
        """The signed meter values of a session and what they prove; of one that goes on they are verified now."""
        return await keys.of_session(caller_of(request), ident_of("session", session_id))

    @get(
        "/v1/cdrs/{cdr_id:str}/transparency-file",
        tags=["cdrs"],
        opt={"scope": Scope.CDRS_READ, "files": ("application/xml",)},
    )
    async def get_transparency_file(request: Request[Any, Any, Any], cdr_id: FromPath[str]) -> Response[bytes]:
        """The XML file with which the driver checks the signed values by the S.A.F.E. transparency software."""
        content = await keys.transparency_file(caller_of(request), ident_of("CDR", cdr_id))
        return Response(
            content,
            media_type="application/xml",
            headers={"Content-Disposition": f'attachment; filename="cdr-{ident_of("CDR", cdr_id)}.xml"'},
        )

    return [
        list_meter_public_keys,
        register_meter_public_key,
        retire_meter_public_key,
        list_signed_meter_values,
        get_transparency_file,
    ]
