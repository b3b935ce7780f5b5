"""Raw calls and version-free commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.commands import DEFAULT_TIMEOUT_S, DEFAULT_VALID_S
from chargeplane.domain import commands as domain
from chargeplane.domain.charging_profiles import ChargingProfile
from chargeplane.domain.messages import IdToken
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import StationIdPath, Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import compact
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.store.queries.commands import COMMAND_SORTS, CommandView

TimeoutS = Annotated[float, Meta(gt=0, le=600, description="How long the station may take to answer, from sending.")]
ValidS = Annotated[float, Meta(ge=0, le=86400, description="How long the command waits for the station.")]
EvseId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
ConnectorId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
TokenText = Annotated[str, Meta(min_length=1, max_length=255)]


class RawCall(Struct, kw_only=True, forbid_unknown_fields=True):
    """A call of the station's own OCPP version, sent as given: keys in their order, compact JSON."""

    action: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,50}$", description="OCPP action, such as GetConfiguration.")]
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S


class CallResult(Struct, kw_only=True, omit_defaults=True):
    """How a raw call ended.

    Args:
        payload: the station's answer, for `callresult`.
        latency_ms: from sending to the answer.
        command_id: under /v1/commands/{id} the call is recorded with the payload that was sent and the answer.
        reservation_id: given to a ReserveNow that came without an id.
    """

    outcome: domain.CallOutcomeKind
    command_id: str
    message_id: str
    latency_ms: float | None
    payload: Any = msgspec.UNSET
    error_code: str | None = None
    error_description: str | None = None
    error_details: Any = msgspec.UNSET
    reservation_id: int | None = None


class TokenRef(Struct, kw_only=True, forbid_unknown_fields=True):
    """An id token and its type."""

    id_token: TokenText
    type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


class _Asked(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every command may have."""

    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S
    expires_in_s: ValidS = DEFAULT_VALID_S


class StartCommand(_Asked, kw_only=True, forbid_unknown_fields=True, tag="start"):
    """Start a transaction for an id token.

    Args:
        group_id_token: id tokens of this group may stop it too (2.x); that of the registered id token unless given.
        charging_profile: a TxProfile without a transaction id, for the transaction that starts; its `evse_id` is not looked at.
    """

    id_token: TokenText | TokenRef
    group_id_token: TokenText | TokenRef | None = None
    evse_id: EvseId | None = None
    remote_start_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    charging_profile: ChargingProfile | None = None


class StopCommand(_Asked, kw_only=True, forbid_unknown_fields=True, tag="stop"):
    """Stop a transaction: by our id, or by the one the station knows."""

    transaction_id: str | int | None = None
    ocpp_transaction_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


def _as_body(command: type[Struct]) -> type[Struct]:
    """The body that asks for a command of the domain: its fields, and what every command may have."""
    fields = [
        (one.name, one.type)
        if one.required
        else (one.name, one.type, msgspec.field(default=one.default))
        if one.default is not msgspec.NODEFAULT
        else (one.name, one.type, msgspec.field(default_factory=one.default_factory))
        for one in msgspec.structs.fields(command)
    ]
    taken = {name for name, *_ in fields} & set(_Asked.__struct_fields__)
    assert not taken, f"{command.__name__}: {taken} would hide what every command has"
    made = msgspec.defstruct(
        f"{command.__name__}Command",
        fields,
        bases=(_Asked,),
        tag=str(command.__struct_config__.tag),
        kw_only=True,
        forbid_unknown_fields=True,
        module=__name__,
        namespace={"__doc__": command.__doc__},
    )
    return made


_OWN: Final = frozenset({domain.Start, domain.Stop, domain.DeliverCertificate, domain.SetPassword})
"""Commands with a body of their own, or that only the house gives."""

_BODIES: Final = {_as_body(command): command for command in get_args(domain.Command) if command not in _OWN}

if TYPE_CHECKING:
    AnyCommand = StartCommand | StopCommand
else:
    AnyCommand = Union[StartCommand, StopCommand, *_BODIES]


def _token(given: str | TokenRef) -> IdToken:
    return IdToken(value=given) if isinstance(given, str) else IdToken(value=given.id_token, type=given.type)


def command_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    commands = services.commands

    async def to_domain(request: Request[Any, Any, Any], data: JSONBody[AnyCommand]) -> domain.Command:
        match data:
            case StartCommand():
                return domain.Start(
                    id_token=_token(data.id_token),
                    group_id_token=None if data.group_id_token is None else _token(data.group_id_token),
                    evse_id=data.evse_id,
                    remote_start_id=data.remote_start_id,
                    charging_profile=data.charging_profile,
                )
            case StopCommand():
                return domain.Stop(ocpp_transaction_id=await transaction_to_stop(request, data))
            case _:
                command: domain.Command = _BODIES[type(data)](
                    **{
                        name: getattr(data, name)
                        for name in data.__struct_fields__
                        if name not in _Asked.__struct_fields__
                    }
                )
                return command

    async def transaction_to_stop(request: Request[Any, Any, Any], data: JSONBody[StopCommand]) -> str:
        if (data.transaction_id is None) == (data.ocpp_transaction_id is None):
            sentence = "Give either transaction_id or ocpp_transaction_id"
            raise InvalidInputError(f"{sentence}.", (("/transaction_id", sentence),))
        if data.ocpp_transaction_id is not None:
            return data.ocpp_transaction_id
        try:
            ident = ident_of("transaction", str(data.transaction_id))
            place = await services.transactions.place(caller_of(request), ident)
        except NotFoundError as error:
            raise InvalidInputError(str(error), (("/transaction_id", str(error)),)) from None
        if place.ocpp_transaction_id is None:
            sentence = "The station never named this transaction, so it cannot be asked to stop it"
            raise InvalidInputError(f"{sentence}.", (("/transaction_id", sentence),))
        return place.ocpp_transaction_id

    @post("/v1/charging-stations/{station_id:str}/calls", tags=["calls"], opt={"scope": Scope.CALLS}, status_code=200)
    async def call_charging_station(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[RawCall]
    ) -> CallResult:
        """Sends a raw call and waits for its outcome. 409 where the station is not connected, 422 where the payload
        does not fit the schema of its version. A ReserveNow without an id gets one. What was sent and answered is recorded
        under `command_id`."""
        payload = b"{}" if isinstance(data.payload, msgspec.UnsetType) else compact(data.payload)
        if not payload.startswith(b"{"):
            sentence = "Must be a JSON object"
            raise InvalidInputError(f"'payload': {sentence}.", (("/payload", sentence),))
        ended = await commands.call(caller_of(request), station_id, data.action, payload, data.timeout_s)
        outcome = ended.outcome
        is_error = outcome.outcome is domain.CallOutcomeKind.CALLERROR
        return CallResult(
            outcome=outcome.outcome,
            command_id=str(ended.id),
            message_id=outcome.message_id,
            latency_ms=outcome.latency_ms,
            payload=msgspec.UNSET if outcome.payload is None else msgspec.Raw(outcome.payload),
            error_code=outcome.error_code if is_error else None,
            error_description=outcome.error_description,
            error_details=msgspec.UNSET if outcome.error_details is None else msgspec.Raw(outcome.error_details),
            reservation_id=ended.reservation_id,
        )

    @post(
        "/v1/charging-stations/{station_id:str}/commands",
        tags=["commands"],
        opt={"scope": Scope.COMMANDS},
        status_code=202,
    )
    async def command_charging_station(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[AnyCommand],
        wait_s: Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the outcome.")] = 0.0,
    ) -> Response[CommandView]:
        """Gives a station a version-free command. It waits for the station to be connected and accepted, until it
        expires; look at it again under /v1/commands/{id}."""
        view = await commands.command(
            caller_of(request),
            station_id,
            await to_domain(request, data),
            timeout_s=data.timeout_s,
            valid_s=data.expires_in_s,
            wait_s=wait_s,
        )
        return Response(view, headers={"Location": f"/v1/commands/{quote(view.id)}"})

    @get(
        "/v1/charging-stations/{station_id:str}/commands",
        tags=["commands"],
        opt={"scope": Scope.COMMANDS, "sorts": COMMAND_SORTS},
    )
    async def list_commands(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: Annotated[domain.CommandState | None, QueryParameter(name="state")] = None,
        action: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CommandView]:
        """Commands and raw calls of a station, newest first, with what was sent and the station's answer: its reservations,
        charging profiles and local lists among them. `action` is the OCPP action."""
        after = begin(request, cursor, sort)
        found = await commands.page(caller_of(request), station_id, wanted_state, action, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/commands/{command_id:str}", tags=["commands"], opt={"scope": Scope.COMMANDS})
    async def get_command(request: Request[Any, Any, Any], command_id: FromPath[str]) -> CommandView:
        """A command or raw call, with the station's answer."""
        return await commands.one(caller_of(request), ident_of("command", command_id))

    return [call_charging_station, command_charging_station, list_commands, get_command]
