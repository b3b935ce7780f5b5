"""OCPI 2.1.1 and the canonical version: what their schemas do not say of each other.

2.1.1 has the owner of an object in its URL, a Location inside sessions and CDRs, the id of a contract instead of a token,
amounts without taxes, and far fewer values. Upwards, what only 2.1.1 has stays in the document under its own name, since the
canonical version takes any field; a partner of 2.1.1 gets it back.
"""

from __future__ import annotations

from typing import Any, Final

from chargeplane.bridge.ocpi.context import Party
from chargeplane.bridge.ocpi.embedded import cdr_location, location_of_cdr, session_ids, session_location
from chargeplane.bridge.ocpi.losses import Why
from chargeplane.bridge.ocpi.plan import GONE, At, Plan, Planner, Rules, Run, Tree
from chargeplane.bridge.ocpi.prices import price_from_number, price_to_number, without_taxes
from chargeplane.bridge.ocpi.zones import zone_of
from chargeplane.ocpi.v2_1_1 import cdrs as old_cdrs
from chargeplane.ocpi.v2_1_1 import commands as old_commands
from chargeplane.ocpi.v2_1_1 import credentials as old_credentials
from chargeplane.ocpi.v2_1_1 import locations as old_locations
from chargeplane.ocpi.v2_1_1 import sessions as old_sessions
from chargeplane.ocpi.v2_1_1 import tariffs as old_tariffs
from chargeplane.ocpi.v2_1_1 import tokens as old_tokens
from chargeplane.ocpi.v2_1_1 import version_information as old_versions
from chargeplane.ocpi.v2_3_0 import cdrs, commands, credentials, locations, sessions, tariffs, tokens
from chargeplane.ocpi.v2_3_0 import version_information as versions
from chargeplane.ocpi.v2_3_0.enums import Role

NO_POSTAL_CODE: Final = "-"
"""2.1.1 asks for a postal code; this says that there is none."""

_OWNER: Final = frozenset({"country_code", "party_id"})
_OTHER_TOKENS: Final = {"type": {"APP_USER": "OTHER", "AD_HOC_USER": "OTHER", "EMAID": "OTHER"}}
_ASKED: Final = {"auth_method": {"COMMAND": "AUTH_REQUEST"}}


# Downwards


def _place(run: Run, value: Any, at: At) -> Any:
    if value in ("ON_STREET", "PARKING_GARAGE", "UNDERGROUND_GARAGE", "PARKING_LOT", "OTHER"):
        return value
    run.lose(at, value, Why.NEAREST)
    return "OTHER"


def _location_down(run: Run, source: Tree, target: Tree, at: At) -> None:
    if source.get("publish") is False:
        run.lose((at, "publish"), False, Why.SHOWN_TO_ALL)
    if at is None and run.partial:
        return
    target.setdefault("type", "UNKNOWN")
    if not target.get("postal_code"):
        target["postal_code"] = run.fill((at, "postal_code"), NO_POSTAL_CODE)


def _first_tariff(run: Run, value: Any, at: At) -> Any:
    if not value:
        return GONE
    for place, ident in enumerate(value[1:], 1):
        run.lose((at, place), ident, Why.ONE_ONLY)
    return value[0]


def _reservation_down(run: Run, value: Any, at: At) -> Any:
    number = run.context.reservation_number(value)
    if str(number) != value:
        run.lose(at, value, Why.NEAREST)
    return number


def _auth_id(run: Run, source: Tree, target: Tree, at: At) -> None:
    token = source.get("cdr_token")
    if token is None:
        return
    target["auth_id"] = token["contract_id"]
    if token["uid"] != token["contract_id"]:
        run.lose(((at, "cdr_token"), "uid"), token["uid"], Why.NO_FIELD)
    if token["type"] not in ("RFID", "OTHER"):
        run.lose(((at, "cdr_token"), "type"), token["type"], Why.NO_FIELD)


def _session_down(run: Run, source: Tree, target: Tree, at: At) -> None:
    _auth_id(run, source, target, at)
    session_location(run, source, target, at, _location_plan())


def _cdr_down(run: Run, source: Tree, target: Tree, at: At) -> None:
    _auth_id(run, source, target, at)
    cdr_location(run, source, target, at, _location_plan())


def _location_plan() -> Plan:
    return DOWN.plan(locations.Location, old_locations.Location)


def _one_role(run: Run, source: Tree, target: Tree, at: At) -> None:
    roles = source.get("roles") or []
    wanted = run.context.peer_role
    ordered = sorted(enumerate(roles), key=lambda each: each[1]["role"] != wanted)
    for place, role in ordered[1:]:
        run.lose(((at, "roles"), place), role, Why.ONE_ONLY)
    if ordered:
        place, role = ordered[0]
        details = DOWN.plan(locations.BusinessDetails, old_locations.BusinessDetails)
        made = details(run, role["business_details"], (((at, "roles"), place), "business_details"))
        target |= {"business_details": made, "party_id": role["party_id"], "country_code": role["country_code"]}


DOWN: Final = Planner(
    {
        credentials.Credentials: Rules(told=frozenset({"roles"}), finish=_one_role),
        versions.Endpoint: Rules(told=frozenset({"role"})),
        locations.Location: Rules(
            rename={"parking_type": "type"},
            fields={"parking_type": _place},
            told=_OWNER | {"publish"},
            finish=_location_down,
        ),
        locations.Connector: Rules(
            rename={"max_voltage": "voltage", "max_amperage": "amperage", "tariff_ids": "tariff_id"},
            fields={"tariff_ids": _first_tariff},
            nearest={"power_type": {"AC_2_PHASE": "AC_1_PHASE", "AC_2_PHASE_SPLIT": "AC_1_PHASE"}},
        ),
        locations.EnvironmentalImpact: Rules(rename={"category": "source"}),
        tariffs.Tariff: Rules(told=_OWNER | {"tax_included"}, prepare=without_taxes),
        tariffs.TariffElement: Rules(vital=frozenset({"restrictions"})),
        tariffs.TariffRestrictions: Rules(closes=True),
        tokens.Token: Rules(rename={"contract_id": "auth_id"}, told=_OWNER, nearest=_OTHER_TOKENS),
        # The token that was asked for is in the URL of the question.
        tokens.AuthorizationInfo: Rules(told=frozenset({"token"})),
        sessions.Session: Rules(
            rename={"start_date_time": "start_datetime", "end_date_time": "end_datetime"},
            fields={"total_cost": price_to_number},
            told=_OWNER | {"cdr_token", "location_id", "evse_uid", "connector_id"},
            nearest=_ASKED | {"status": {"RESERVATION": "PENDING"}},
            finish=_session_down,
        ),
        cdrs.CDR: Rules(
            rename={"end_date_time": "stop_date_time"},
            fields={"total_cost": price_to_number},
            told=_OWNER | {"cdr_token", "cdr_location"},
            nearest=_ASKED,
            finish=_cdr_down,
        ),
        commands.ReserveNow: Rules(fields={"reservation_id": _reservation_down}),
        commands.CommandResponse: Rules(told=frozenset({"timeout"})),
        commands.CommandResult: Rules(
            nearest={
                "result": {
                    "CANCELED_RESERVATION": "REJECTED",
                    "EVSE_OCCUPIED": "REJECTED",
                    "EVSE_INOPERATIVE": "REJECTED",
                    "FAILED": "REJECTED",
                    "UNKNOWN_RESERVATION": "REJECTED",
                }
            }
        ),
    },
    keep=False,
)
"""2.3.0 -> 2.1.1."""


# Upwards


def _parking(run: Run, value: Any, at: At) -> Any:
    return GONE if value == "UNKNOWN" else value


def _postal_code(run: Run, value: Any, at: At) -> Any:
    return GONE if value == NO_POSTAL_CODE else value


def _own(run: Run, target: Tree, at: At, party: Party | None) -> None:
    if party is not None and not (at is None and run.partial):
        target.setdefault("country_code", party.country_code)
        target.setdefault("party_id", party.party_id)


def _owned(run: Run, source: Tree, target: Tree, at: At) -> None:
    _own(run, target, at, run.context.owner)


def _location_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    _owned(run, source, target, at)
    if at is None and run.partial:
        return
    target.setdefault("publish", True)
    if "time_zone" not in target:
        place = source.get("coordinates") or {}
        zone = zone_of(source["country"], place.get("latitude"), place.get("longitude"))
        target["time_zone"] = run.fill((at, "time_zone"), zone or "UTC")


def _hours_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    # One of the two is there in 2.1.1 (mod_locations, Hours).
    if "twentyfourseven" not in target:
        target["twentyfourseven"] = run.fill((at, "twentyfourseven"), False, Why.IMPLIED)


def _one_tariff(run: Run, value: Any, at: At) -> Any:
    return [value]


def _tariff_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    _owned(run, source, target, at)
    if not (at is None and run.partial):
        target.setdefault("tax_included", "NO")  # prices are without VAT in 2.1.1 (mod_tariffs, PriceComponent)


def _token_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    _own(run, target, at, run.context.token_owner or run.context.owner)


def _asked_token(run: Run, source: Tree, target: Tree, at: At) -> None:
    if run.context.asked_token is not None:
        target["token"] = run.context.asked_token


def _cdr_token(run: Run, source: Tree, target: Tree, at: At) -> None:
    contract = source.get("auth_id")
    if contract is None:
        return
    token = run.context.find_token(contract)
    if token is not None:
        target["cdr_token"] = {
            name: token[name] for name in ("country_code", "party_id", "uid", "type", "contract_id") if name in token
        }
        return
    where = (at, "cdr_token")
    owner = run.context.token_owner
    target["cdr_token"] = {
        "country_code": owner.country_code if owner else run.fill((where, "country_code"), "XX"),
        "party_id": owner.party_id if owner else run.fill((where, "party_id"), "XXX"),
        "uid": run.fill((where, "uid"), contract),
        "type": run.fill((where, "type"), "OTHER"),
        "contract_id": contract,
    }


def _session_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    _owned(run, source, target, at)
    _cdr_token(run, source, target, at)
    session_ids(run, source, target, at)


def _cdr_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    _owned(run, source, target, at)
    _cdr_token(run, source, target, at)
    location_of_cdr(run, source, target, at)


def _period_up(run: Run, source: Tree, target: Tree, at: At) -> None:
    if "dimensions" not in target and not (at is None and run.partial):
        # A fee was all that the period had.
        target["dimensions"] = run.fill((at, "dimensions"), [{"type": "TIME", "volume": 0}])


def _timeout(run: Run, source: Tree, target: Tree, at: At) -> None:
    target["timeout"] = run.context.timeout_s


def _reservation_up(run: Run, value: Any, at: At) -> Any:
    return str(value)


def _roles(run: Run, source: Tree, target: Tree, at: At) -> None:
    role = run.context.peer_role or run.fill((at, "roles"), Role.CPO.value)
    target["roles"] = [
        {
            "role": str(role),
            "business_details": source["business_details"],
            "party_id": source["party_id"],
            "country_code": source["country_code"],
        }
    ]


_OF_CPO: Final = frozenset({"locations", "sessions", "cdrs", "tariffs"})


def _interface(run: Run, source: Tree, target: Tree, at: At) -> None:
    """The side of a module that a partner has: 2.1.1 has one endpoint a module, and what the partner is decides."""
    operates = run.context.peer_role in (None, Role.CPO)
    sends = (source["identifier"] in _OF_CPO) is operates
    if source["identifier"] == "commands":
        sends = not operates
    target["role"] = "SENDER" if sends else "RECEIVER"


UP: Final = Planner(
    {
        old_credentials.Credentials: Rules(
            told=frozenset({"business_details", "party_id", "country_code"}), finish=_roles
        ),
        old_versions.Endpoint: Rules(finish=_interface),
        old_locations.Location: Rules(
            rename={"type": "parking_type"},
            fields={"type": _parking, "postal_code": _postal_code},
            finish=_location_up,
        ),
        old_locations.Hours: Rules(finish=_hours_up),
        old_locations.Connector: Rules(
            rename={"voltage": "max_voltage", "amperage": "max_amperage", "tariff_id": "tariff_ids"},
            fields={"tariff_id": _one_tariff},
        ),
        old_locations.EnvironmentalImpact: Rules(rename={"source": "category"}),
        old_tariffs.Tariff: Rules(finish=_tariff_up),
        old_tokens.Token: Rules(rename={"auth_id": "contract_id"}, finish=_token_up),
        old_tokens.AuthorizationInfo: Rules(finish=_asked_token),
        old_sessions.Session: Rules(
            rename={"start_datetime": "start_date_time", "end_datetime": "end_date_time"},
            fields={"total_cost": price_from_number},
            told=frozenset({"auth_id"}),
            finish=_session_up,
        ),
        old_cdrs.CDR: Rules(
            rename={"stop_date_time": "end_date_time"},
            fields={"total_cost": price_from_number},
            told=frozenset({"auth_id"}),
            finish=_cdr_up,
        ),
        old_cdrs.ChargingPeriod: Rules(finish=_period_up),
        old_commands.ReserveNow: Rules(fields={"reservation_id": _reservation_up}),
        (old_commands.CommandResponse, commands.CommandResponse): Rules(
            # A second answer that comes too late is no first answer in later versions.
            nearest={"result": {"TIMEOUT": "REJECTED"}},
            finish=_timeout,
        ),
        (old_commands.CommandResponse, commands.CommandResult): Rules(
            nearest={"result": {"UNKNOWN_SESSION": "REJECTED"}}
        ),
    },
    keep=True,
)
"""2.1.1 -> 2.3.0."""
