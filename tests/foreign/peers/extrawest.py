"""An OCPI peer that this project did not write: `extrawest-ocpi`, as CPO or eMSP, in 2.1.1 or 2.2.1, in a process and packages of its own.

    python extrawest.py PORT VERSION cpo|emsp TOKEN_A

The package is the server: routes, models, checks, call-backs of the handshake, results of commands. It leaves storing to a `Crud`, which is
here, in memory; and it has no client but for pushes, so what its users would write to send commands is here too. Tests look and
act through `/control`.
"""

import asyncio
import os
import sys
import uuid
from datetime import UTC, datetime

PORT, VERSION, ROLE, TOKEN_A = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
os.environ.update(
    OCPI_HOST=f"127.0.0.1:{PORT}", PROTOCOL="http", COUNTRY_CODE="NL", PARTY_ID="EXW", COMMAND_AWAIT_TIME="5"
)

import httpx  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import Request  # noqa: E402
from py_ocpi import get_application  # noqa: E402
from py_ocpi.core.adapter import BaseAdapter  # noqa: E402
from py_ocpi.core.authentication.authenticator import Authenticator  # noqa: E402
from py_ocpi.core.crud import Crud  # noqa: E402
from py_ocpi.core.dependencies import get_endpoints  # noqa: E402
from py_ocpi.core.enums import Action, ModuleID, RoleEnum  # noqa: E402
from py_ocpi.core.push import push_object  # noqa: E402
from py_ocpi.core.schemas import Push, Receiver  # noqa: E402
from py_ocpi.core.utils import encode_string_base64  # noqa: E402
from py_ocpi.modules.versions.enums import VersionNumber  # noqa: E402

NUMBER = VersionNumber(VERSION)
BUSINESS = {"name": "Extrawest"}

store: dict = {}
"""Objects by module and id."""

ours: list = []
"""Tokens that were given out (token C)."""

partner: dict = {}
"""The partner's credentials, and the URL of its version."""

results: dict = {}
"""Results of commands by the last segment of their response_url."""

tasks: set = set()


def now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def of(module, ident=None):
    """Objects of a module, or one of them; the package makes ids small where it reads them."""
    found = store.setdefault(ModuleID(module).value, {})
    return found if ident is None else found.get(str(ident).lower())


def our_credentials(token):
    url = f"http://127.0.0.1:{PORT}/ocpi/versions"
    if VERSION == "2.1.1":
        return {
            "token": token,
            "url": url,
            "business_details": BUSINESS,
            "party_id": "EXW",
            "country_code": "NL",
        }
    role = {"role": ROLE.upper(), "business_details": BUSINESS, "party_id": "EXW", "country_code": "NL"}
    return {"token": token, "url": url, "roles": [role]}


def keep_partner(data):
    partner.clear()
    partner.update(credentials=data["credentials"], endpoints=data["endpoints"])
    token = uuid.uuid4().hex
    ours[:] = [token]
    return our_credentials(token)


class Books(Crud):
    """What the package calls."""

    @classmethod
    async def get(cls, module, role, id, *args, **kwargs):
        if module == ModuleID.credentials_and_registration:
            return our_credentials(kwargs["auth_token"]) if partner else None
        if module == ModuleID.commands:
            return {"result": "ACCEPTED"}
        return of(module, id)

    @classmethod
    async def list(cls, module, role, filters, *args, **kwargs):
        found = list(of(module).values())
        part = found[filters["offset"] : filters["offset"] + filters["limit"]]
        return part, len(found), filters["offset"] + len(part) >= len(found)

    @classmethod
    async def create(cls, module, role, data, *args, **kwargs):
        if module == ModuleID.credentials_and_registration:
            return keep_partner(data)
        of(module)[str(data.get("uid") or data["id"]).lower()] = data
        return data

    @classmethod
    async def update(cls, module, role, data, id, *args, **kwargs):
        if module == ModuleID.credentials_and_registration:
            return keep_partner(data)
        if module == ModuleID.commands:
            results[str(id)] = data
            return data
        of(module)[str(id).lower()] = {**(of(module, id) or {}), **data}
        return of(module, id)

    @classmethod
    async def delete(cls, module, role, id, *args, **kwargs):
        if module == ModuleID.credentials_and_registration:
            partner.clear()
            ours.clear()
        else:
            of(module).pop(str(id).lower(), None)

    @classmethod
    async def do(cls, module, role, action, data=None, *args, **kwargs):
        data = kwargs.get("data", data)
        if action == Action.get_client_token:
            return partner["credentials"]["token"]
        if action == Action.authorize_token:
            return {"allowed": "ALLOWED", "token": of(ModuleID.tokens, data["token_uid"])}
        if action == Action.send_command:
            if kwargs["command"].value == "START_SESSION":
                later(charge(data))
            return {"result": "ACCEPTED", "timeout": 30}
        raise NotImplementedError(action)


class Tokens(Authenticator):
    """Who may come in."""

    @classmethod
    async def get_valid_token_c(cls):
        return list(ours)

    @classmethod
    async def get_valid_token_a(cls):
        return [TOKEN_A]


def later(work):
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def push(module, ident):
    """By the package's own push."""
    receiver = Receiver(endpoints_url=partner_version_url(), auth_token=partner["credentials"]["token"])
    answer = await push_object(
        NUMBER, Push(module_id=module, object_id=str(ident), receivers=[receiver]), Books, BaseAdapter
    )
    store.setdefault("pushed", {})[f"{module}/{ident}"] = [one.status_code for one in answer.receiver_responses]


def partner_version_url():
    return partner["version_url"]


async def charge(command):
    """What a charging station would do behind this CPO: a session of 10 kWh, told while it goes on, and its CDR."""
    await find_partner()
    token, location = command["token"], of(ModuleID.locations, command["location_id"])
    ident = uuid.uuid4().hex[:12]
    period = {"start_date_time": now(), "dimensions": [{"type": "ENERGY", "volume": 10.0}]}
    common = {"id": ident, "currency": "EUR", "last_updated": now(), "charging_periods": [period]}
    if VERSION == "2.1.1":
        session = {
            **common,
            "start_datetime": now(),
            "kwh": 0.0,
            "auth_id": token["auth_id"],
            "auth_method": "AUTH_REQUEST",
            "location": location,
            "status": "ACTIVE",
        }
    else:
        session = {
            **common,
            "country_code": "NL",
            "party_id": "EXW",
            "start_date_time": now(),
            "kwh": 0.0,
            "cdr_token": cdr_token(token),
            "auth_method": "COMMAND",
            "authorization_reference": command.get("authorization_reference"),
            "location_id": location["id"],
            "evse_uid": location["evses"][0]["uid"],
            "connector_id": "1",
            "status": "ACTIVE",
        }
    of(ModuleID.sessions)[ident] = session
    await push("sessions", ident)
    session.update(kwh=10.0, status="COMPLETED", last_updated=now())
    session.update({"end_datetime" if VERSION == "2.1.1" else "end_date_time": now()})
    await push("sessions", ident)
    of(ModuleID.cdrs)[ident] = cdr(ident, session, location, token)
    await push("cdrs", ident)


def cdr_token(token):
    kept = ("country_code", "party_id", "uid", "type", "contract_id")
    return {name: token[name] for name in kept}


def cdr(ident, session, location, token):
    common = {
        "id": ident,
        "currency": "EUR",
        "charging_periods": session["charging_periods"],
        "total_energy": 10.0,
        "total_time": 0.5,
        "last_updated": now(),
        "tariffs": list(of(ModuleID.tariffs).values()),
    }
    if VERSION == "2.1.1":
        return {
            **common,
            "start_date_time": session["start_datetime"],
            "end_date_time": session["end_datetime"],
            "auth_id": token["auth_id"],
            "auth_method": "AUTH_REQUEST",
            "location": location,
            "total_cost": 4.0,
        }
    evse = location["evses"][0]
    connector = evse["connectors"][0]
    place = {
        "id": location["id"],
        "address": location["address"],
        "city": location["city"],
        "country": location["country"],
        "postal_code": location.get("postal_code", ""),
        "coordinates": location["coordinates"],
        "evse_uid": evse["uid"],
        "evse_id": evse["evse_id"],
        "connector_id": connector["id"],
        "connector_standard": connector["standard"],
        "connector_format": connector["format"],
        "connector_power_type": connector["power_type"],
    }
    return {
        **common,
        "country_code": "NL",
        "party_id": "EXW",
        "start_date_time": session["start_date_time"],
        "end_date_time": session["end_date_time"],
        "session_id": session["id"],
        "cdr_token": cdr_token(token),
        "auth_method": "COMMAND",
        "authorization_reference": session.get("authorization_reference"),
        "cdr_location": place,
        "total_cost": {"excl_vat": 4.0, "incl_vat": 4.84},
    }


async def find_partner():
    """The URL of the partner's version, by its own list: the handshake told the endpoints alone."""
    if "version_url" in partner:
        return
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Token {encoded(partner['credentials']['token'])}"}
        answer = await client.get(partner["credentials"]["url"], headers=headers)
        (partner["version_url"],) = [one["url"] for one in answer.json()["data"] if one["version"] == VERSION]


def encoded(token):
    return token if VERSION == "2.1.1" else encode_string_base64(token)


modules = [
    ModuleID.credentials_and_registration,
    ModuleID.locations,
    ModuleID.sessions,
    ModuleID.cdrs,
    ModuleID.tariffs,
    ModuleID.tokens,
    ModuleID.commands,
]
app = get_application(
    version_numbers=[NUMBER],
    roles=[RoleEnum.cpo if ROLE == "cpo" else RoleEnum.emsp],
    crud=Books,
    modules=modules,
    authenticator=Tokens,
    adapter=BaseAdapter,
    http_push=True,
)

# The package serves commands and forgets to name them among the endpoints.
named = app.dependency_overrides[get_endpoints]()
commands_url = f"http://127.0.0.1:{PORT}/ocpi/{ROLE}/{VERSION}/commands/"
if not any(str(one.url) == commands_url for one in named[NUMBER]):
    like = named[NUMBER][0]
    told = {"identifier": ModuleID.commands, "url": commands_url}
    if hasattr(like, "role"):
        told["role"] = "RECEIVER" if ROLE == "cpo" else "SENDER"
    named[NUMBER].append(type(like)(**told))


@app.get("/control/{module}")
async def look(module: str):
    if module == "partner":
        return partner
    if module == "results":
        return results
    if module == "pushed":
        return store.get("pushed", {})
    return list(of(ModuleID(module)).values())


@app.put("/control/{module}/{ident}")
async def put(module: str, ident: str, request: Request):
    of(ModuleID(module))[ident.lower()] = await request.json()


@app.post("/control/push/{module}/{ident}")
async def push_now(module: str, ident: str):
    await find_partner()
    await push(module, ident)
    return store["pushed"]


@app.post("/control/command/{name}")
async def command(name: str, request: Request):
    """Sends a command to the partner; the body is the command's, without its response_url."""
    await find_partner()
    ident = uuid.uuid4().hex
    body = {**(await request.json()), "response_url": f"{commands_url}{ident}"}
    async with httpx.AsyncClient(timeout=30) as client:
        headers = {"authorization": f"Token {encoded(partner['credentials']['token'])}"}
        details = await client.get(partner["version_url"], headers=headers)
        (url,) = [
            one["url"]
            for one in details.json()["data"]["endpoints"]
            if one["identifier"] == "commands" and one.get("role") in (None, "RECEIVER")
        ]
        answer = await client.post(f"{url.rstrip('/')}/{name}", json=body, headers=headers)
    return {"id": ident, "status": answer.status_code, "body": answer.json()}


@app.post("/control/register")
async def register(request: Request):
    """Registers with a partner: its versions, its details, and our credentials; the answer's are kept."""
    asked = await request.json()
    token = uuid.uuid4().hex
    ours[:] = [token]
    async with httpx.AsyncClient(timeout=30) as client:
        headers = {"authorization": f"Token {encoded(asked['token'])}"}
        versions = (await client.get(asked["url"], headers=headers)).json()["data"]
        (url,) = [one["url"] for one in versions if one["version"] == VERSION]
        details = (await client.get(url, headers=headers)).json()["data"]
        (to,) = {one["url"] for one in details["endpoints"] if one["identifier"] == "credentials"}
        answer = await client.post(to, json=our_credentials(token), headers=headers)
        body = answer.json()
    if body.get("status_code") == 1000:
        partner.clear()
        partner.update(credentials=body["data"], endpoints=details, version_url=url)
    return {"status": answer.status_code, "body": body}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
