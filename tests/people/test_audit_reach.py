"""Every route that changes something tells the audit log: none is there from which the audit log cannot be reached."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from litestar.handlers import HTTPRouteHandler

from chargeplane.app import audit_log
from chargeplane.edges.http.routes import route_handlers
from chargeplane.store.queries.audit import audit
from tests.support.rest import Rest

_STATION: Final = "/v1/charging-stations/{station_id:str}"
_COMMAND: Final = "a command to a station is a record of its own: who asked, what, and the station's answer (/v1/.../commands, station requests)"
_ROAMING: Final = (
    "what partners are asked is a record of its own, with their answer (/v1/roaming/commands, /v1/roaming/exchanges)"
)
_NOTHING: Final = "changes nothing: it works something out"

EXCEPTIONS: Final[dict[tuple[str, str], str]] = {
    **{
        ("POST", f"{_STATION}/{name}"): _COMMAND
        for name in (
            "calls",
            "commands",
            "local-list/send",
            "display-messages",
            "display-messages/refresh",
            "event-streams/refresh",
            "firmware-updates",
            "logs",
            "monitors",
            "monitors/clear",
            "customer-information",
            "charging-profiles/report",
            "allowed-energy-transfers",
            "der-controls/report",
            "installed-certificates",
        )
    },
    ("PUT", f"{_STATION}/display-messages/{{number:str}}"): _COMMAND,
    ("DELETE", f"{_STATION}/display-messages/{{number:str}}"): _COMMAND,
    ("PUT", f"{_STATION}/tariffs/{{evse_id:str}}"): _COMMAND,
    ("DELETE", f"{_STATION}/tariffs"): _COMMAND,
    ("PUT", f"{_STATION}/event-streams/{{number:str}}"): _COMMAND,
    ("DELETE", f"{_STATION}/der-controls/{{control_id:str}}"): _COMMAND,
    ("DELETE", f"{_STATION}/installed-certificates/{{serial_number:str}}"): _COMMAND,
    ("POST", "/v1/me/transactions/{id:str}/stop"): _COMMAND,
    ("POST", "/v1/me/unlock"): _COMMAND,
    (
        "POST",
        "/v1/contracts",
    ): "the pool of contracts for trying out, which this server has not; it tells the audit log (app/ev_pool.py)",
    ("POST", "/v1/contracts/{id:str}/revoke"): "as above",
    ("POST", "/ocsp"): _NOTHING,
    (
        "POST",
        "/v1/payment-methods",
    ): "begins a payment, which is a record of its own (/v1/payments/{id}: who began it, what was done)",
    ("POST", "/v1/me/payment-methods"): "as above",
    ("POST", "/v1/tariffs/{tariff_id:str}/estimate"): _NOTHING,
    ("POST", "/v1/billing-runs/preview"): _NOTHING,
    ("POST", "/v1/sessions/{session_id:str}/refresh"): "has the house look at once at what it looks at soon by itself",
    **dict.fromkeys(
        (
            ("POST", "/v1/roaming/commands"),
            ("PUT", "/v1/roaming/sessions/{id:str}/charging-profile"),
            ("DELETE", "/v1/roaming/sessions/{id:str}/charging-profile"),
            ("POST", "/v1/roaming/sessions/{id:str}/charging-profile/read"),
            ("POST", "/v1/roaming/sessions/{id:str}/charging-preferences"),
            ("POST", "/v1/me/roaming/sessions/{id:str}/stop"),
            ("POST", "/v1/me/roaming/sessions/{id:str}/unlock"),
            ("POST", "/v1/roaming/terminals/{id:str}/charges"),
            ("PUT", "/v1/me/roaming/sessions/{id:str}/charging-preferences"),
            ("POST", "/v1/me/roaming/reservations/{partner:str}/{reservation_id:str}/cancel"),
        ),
        _ROAMING,
    ),
    ("POST", "/v1/roaming/partners/{id:str}/pull"): "has the house read at once what it reads soon by itself",
    (
        "POST",
        "/v1/webhooks/payments/{token:str}",
    ): "from payment providers: kept as it came, with what came of it (/v1/payments/{id})",
}
"""Routes that change nothing of the house's, or are written down elsewhere, with the reason."""


def _functions(value: Any) -> Iterator[Any]:
    """Plain functions behind a value: methods, partials, wrapped ones."""
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    if inspect.ismethod(value):
        yield value.__func__
    elif inspect.isfunction(value):
        yield value
    elif isinstance(value, property) and value.fget is not None:
        yield value.fget


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class Reach:
    """What functions lead to."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Any, int], bool] = {}

    def reaches(self, function: Any, owner: Any = None, depth: int = 12) -> bool:
        """Whether a call of the function may call `audit`."""
        if function is audit:
            return True
        key = (function, id(owner))
        if key in self._seen or depth == 0 or not getattr(function, "__module__", "").startswith("chargeplane"):
            return self._seen.get(key, False)
        self._seen[key] = False
        names = {name for code in _codes(function.__code__) for name in (*code.co_names, *code.co_freevars)}
        found = any(
            self.reaches(one, holder, depth - 1)
            for holder, value in self._values(function, owner, names)
            for one in _functions(value)
        )
        self._seen[key] = found
        return found

    def _values(self, function: Any, owner: Any, names: set[str]) -> Iterator[tuple[Any, Any]]:
        closed = inspect.getclosurevars(function)
        known: list[Any] = []
        for name, value in {**closed.nonlocals, **closed.globals}.items():
            yield None, value
            if name in names or name in closed.nonlocals:
                known.append(value)
        if owner is not None:
            known.append(owner)
        # What the code names on what it knows: methods of use cases, of their parts, functions of modules.
        for _ in range(3):
            further: list[Any] = []
            for holder in known:
                for name in names:
                    try:
                        value = inspect.getattr_static(holder, name)
                    except AttributeError:
                        continue
                    if isinstance(value, staticmethod | classmethod):
                        value = value.__func__
                    if not isinstance(holder, types.ModuleType) and not isinstance(holder, type):
                        yield holder, value
                    else:
                        yield None, value
                    if not inspect.isfunction(value) and type(value).__module__.startswith("chargeplane"):
                        further.append(value)
            known = further


def _mutating(rest: Rest) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for handler in route_handlers(rest.services):
        for method in sorted(handler.http_methods):
            if method in ("GET", "HEAD", "OPTIONS"):
                continue
            for path in sorted(handler.paths):
                yield str(method), path, handler


async def test_every_change_can_reach_the_audit_log(rest: Rest) -> None:
    reach, mute, known = Reach(), [], set()
    for method, path, handler in _mutating(rest):
        known.add((method, path))
        if not reach.reaches(handler.fn) and (method, path) not in EXCEPTIONS:
            mute.append(f"{method} {path}")
    assert not mute, "\n".join(mute)
    assert EXCEPTIONS.keys() <= known, EXCEPTIONS.keys() - known
    assert len(known) > 170


_ASKS: Final = "has the house do something once more; what comes of it is a record of its own"
_GIVES: Final = "gives something out and changes nothing"
_SECRET: Final = "what changes is a secret, which is never written down"
_DOOR: Final = "a login that begins or ends: it has no state to be compared"
_NAMED: Final = "the function that calls it says what was changed"

WITHOUT_BOTH: Final[dict[tuple[str, str], str]] = {
    ("audit_log", "export"): _GIVES,
    ("configuration", "apply"): _ASKS,
    ("credential_changes", "rotate password"): _SECRET,
    ("credential_changes", "credentials changed"): _SECRET,
    ("customer_information", "show"): _GIVES,
    ("invoicing/runs", "retry"): _ASKS,
    ("invoicing/vat", "check"): _ASKS,
    ("outbox", "retry"): _ASKS,
    ("payments/accounts", "top-up"): "begins a payment, which is a record of its own",
    ("payments/payments", "retry"): _ASKS,
    ("people/credentials", "?"): _DOOR,
    ("people/driver_accounts", "logout"): _DOOR,
    ("people/personal_data", "export-data"): _GIVES,
    ("people/personal_data", "erase"): "what was there must be gone, here too",
    ("people/sign_on", "logout"): _DOOR,
    ("people/sign_on", "link"): _DOOR,
    ("people/user_accounts", "logout"): _DOOR,
    ("people/user_accounts", "?"): _DOOR,
    ("roaming/connections", "?"): "a partner registers, or comes with new credentials: these are secrets",
    (
        "roaming/asked_bookings",
        "?",
    ): "what a partner is asked for: the booking is as the partner told it last until it answers",
    ("roaming/partners", "replay"): _ASKS,
    ("roaming/reconciliation", "settle"): "a person's word on a record of a partner, which is not changed by it",
    ("roaming/terminals", "activate"): "there was no terminal before",
    ("roaming/partners", "retry"): _ASKS,
    ("roaming/pushing", "push"): _ASKS,
    ("variable_changes", "set-variables"): "what the station had is read only then; the change is a record of its own",
    ("webhooks/deliverer", "disable"): _NAMED,
}
"""By module and action: entries without what was before, or without what is after, with the reason."""

_MADE: Final = ("create", "register", "receive", "book", "import")
_GONE: Final = ("delete", "clear", "discard", "remove")


def _calls(tree: ast.AST) -> Iterator[dict[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "audit" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            yield {word.arg: word.value for word in node.keywords if word.arg is not None}


def test_every_entry_that_the_code_writes_has_what_was_and_what_is() -> None:
    """Who and what are arguments that cannot be left out; before and after can, so they are looked for in every call."""
    folder = Path(audit_log.__file__).parent
    lacking, used, count = [], set(), 0
    for file in sorted(folder.rglob("*.py")):
        module = file.relative_to(folder).with_suffix("").as_posix()
        for words in _calls(ast.parse(file.read_text(encoding="utf-8"))):
            count += 1
            value = words["action"]
            action = str(value.value) if isinstance(value, ast.Constant) else "?"
            wanted = {"before", "after"}
            if action.startswith(_MADE):
                wanted = {"after"}
            elif action.startswith(_GONE):
                wanted = {"before"}
            if not wanted <= words.keys():
                used.add((module, action))
                if (module, action) not in WITHOUT_BOTH:
                    lacking.append(f"{module} '{action}' lacks {sorted(wanted - words.keys())}")
    assert not lacking, "\n".join(lacking)
    assert used == WITHOUT_BOTH.keys(), WITHOUT_BOTH.keys() - used
    assert count > 110


async def _entry(rest: Rest, kind: str, ident: str, action: str) -> dict[str, Any]:
    """The newest entry about an object."""
    about = {"object_kind": kind, "object_id": ident, "action": action}
    items = (await rest.client.get("/v1/audit-log", params=about)).json()["items"]
    assert items, about
    found: dict[str, Any] = items[0]
    return found


LIVES: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any], str]]] = {
    "driver": ("/v1/drivers", {"first_name": "Bo"}, {"first_name": "Bi"}, "first_name"),
    "user": (
        "/v1/users",
        {"email": "audited@example.org", "name": "Bo", "role": "support", "password": "correct horse battery"},
        {"name": "Bi"},
        "name",
    ),
    "charging-station": ("/v1/charging-stations", {"station_id": "AUDITED"}, {"location_id": "L"}, "location_id"),
    "id-token": ("/v1/id-tokens", {"id_token": "AUDITED1"}, {"status": "Blocked"}, "status"),
    "sign-on-provider": (
        "/v1/sign-on-providers",
        {"slug": "audited", "issuer": "https://id.example.org", "client_id": "c", "title": "Bo"},
        {"title": "Bi"},
        "title",
    ),
}
"""By kind: where one is made, of what, what is changed, and the field that shows it."""


@pytest.mark.parametrize("kind", LIVES)
async def test_entry_says_who_did_what_and_what_it_was_before_and_after(rest: Rest, kind: str) -> None:
    path, body, change, field = LIVES[kind]
    made = await rest.client.post(path, json=body)
    assert made.status_code == 201, made.text
    ident = made.json()["station_id" if kind == "charging-station" else "id"]
    location = f"{path}/{ident}"
    entry = await _entry(rest, kind, ident, "create")
    assert entry["actor"].startswith("api-key:")
    assert entry["before"] is None
    assert entry["after"] is not None
    changed = await rest.client.patch(location, json=change)
    assert changed.status_code == 200, changed.text
    entry = await _entry(rest, kind, ident, "update")
    assert (entry["before"].get(field), entry["after"][field]) in (
        (body.get(field), change[field]),
        ("Accepted", change[field]),
    )
    text = str(entry)
    for secret in ("password_hash", "'client_secret'", "correct horse"):
        assert secret not in text
    if kind != "driver":  # is closed, never deleted
        assert (await rest.client.delete(location)).status_code == 204
        entry = await _entry(rest, kind, ident, "delete")
        assert entry["before"] is not None
        assert entry["after"] is None
