"""A driver of a provider, with an account alone, at a partner's station: finds it beside ours, reserves, starts, watches, stops, has the cable
unlocked, and sees what it cost and what the meter signed; in every version. Nobody else can do any of it."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from msgspec.structs import replace

from chargeplane.simulator.signing import public_key_of
from tests.payments.test_account_holders import agreement, signed_in
from tests.support.charging_house import ChargingHouse
from tests.support.roaming import VERSIONS
from tests.support.roaming_pair import HOLD, Pair, paired, shared, station_of

SIGNING = replace(HOLD, signs=True)


class Watching:
    """A session's live events, as an app has them."""

    def __init__(self, me: httpx.AsyncClient, session: str) -> None:
        self.seen: list[tuple[str, Any]] = []
        self._task = asyncio.create_task(self._read(me, session))

    async def _read(self, me: httpx.AsyncClient, session: str) -> None:
        async with me.stream("GET", f"/v1/me/roaming/sessions/{session}/live") as answer:
            assert answer.status_code == 200
            kind = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind:
                    self.seen.append((kind, json.loads(line.removeprefix("data: "))))

    async def ended(self) -> list[tuple[str, Any]]:
        """All events, when the stream is over."""
        async with asyncio.timeout(30):
            await self._task
        return self.seen


async def own_place(pair: Pair) -> str:
    """A location of the provider's own, near the partner's, with an EVSE and a price."""
    ident = f"OWN{secrets.token_hex(4)}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.3, "vat": 0.0, "step_size": 1}]}
    await pair.provider.send(
        "POST",
        "/tariffs",
        {"id": f"T{ident}", "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]},
    )
    await pair.provider.send(
        "POST",
        "/locations",
        {
            "id": ident, "name": "Ours", "address": "Plein 2", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09100", "longitude": "5.12000"},
        },
    )  # fmt: skip
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [f"T{ident}"],
    }  # fmt: skip
    await pair.provider.send("POST", f"/locations/{ident}/evses", {"uid": f"E{ident}", "connectors": [connector]})
    return ident


async def done(me: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    answer = await me.request(method, f"/v1/me/roaming{path}", params={"wait_s": 30}, json=body)
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert (found["state"], found["result"]) == ("done", "ACCEPTED"), found
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_driver_finds_reserves_starts_watches_stops_unlocks_and_sees_the_bill(
    houses: tuple[ChargingHouse, ChargingHouse], version: str
) -> None:
    pair = await paired(houses, version)
    server = pair.provider.house.server
    async with await signed_in(server, pair.provider) as me, await signed_in(server, pair.provider) as other:
        driver_id = (await me.get("/v1/me")).json()["id"]
        await agreement(pair.provider, driver_id, "invoice")
        ours = await own_place(pair)
        station, uid = await station_of(pair, options=SIGNING)
        await pair.operator.send(
            "POST",
            f"/charging-stations/{station.station_id}/meter-public-keys",
            {"public_key": public_key_of(station.station_id)},
        )

        # Found beside ours, the nearest first, page by page, with prices.
        around = {"latitude": 52.09, "longitude": 5.12, "available": False, "energy_wh": 10_000}
        places = (await me.get("/v1/me/places", params=around)).json()["items"]
        assert [(one["own"], one["partner"], one["id"]) for one in places] == [
            (False, pair.partner, pair.location),
            (True, "", ours),
        ]
        kwh = [one["evses"][0]["connectors"][0]["price"]["per_kwh"]["amount"] for one in places]
        assert kwh == ["0.40" if version == "2.1.1" else "0.476", "0.30"]
        first = (await me.get("/v1/me/places", params={**around, "limit": 1})).json()
        second = (await me.get("/v1/me/places", params={**around, "limit": 1, "cursor": first["next_cursor"]})).json()
        assert [one["id"] for one in (*first["items"], *second["items"])] == [pair.location, ours]
        assert second["next_cursor"] is None

        # Reserved and, where the version can, given free; reserved again and started.
        at = {"partner": pair.partner, "location_id": pair.location, "evse_uid": uid}
        until = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        reserved = await done(me, "POST", "/reservations", {**at, "until": until})
        cancel = f"/reservations/{pair.partner}/{reserved['reservation_id']}/cancel"
        stranger = await other.post(f"/v1/me/roaming{cancel}")
        assert stranger.status_code == 404
        if version != "2.1.1":
            await done(me, "POST", cancel)
        started = await done(me, "POST", "/charges", at)
        assert (await other.get(f"/v1/me/roaming/charges/{started['id']}")).status_code == 404

        async def begun() -> Any:
            found = (await me.get("/v1/me/roaming/sessions")).json()["items"]
            return next((one for one in found if one["status"] == "ACTIVE"), None)

        session = (await pair.provider.until(begun, bool))["id"]
        if version != "2.1.1":  # which has no reference
            order = (await me.get(f"/v1/me/roaming/charges/{started['id']}")).json()
            assert order["session_id"] == session
        for method, path in (("GET", ""), ("GET", "/live"), ("POST", "/stop"), ("POST", "/unlock")):
            theirs = await other.request(method, f"/v1/me/roaming/sessions/{session}{path}")
            assert theirs.status_code == 404, (path, theirs.text)

        # Watched while energy flows.
        watching = Watching(me, session)

        async def flowing() -> Any:
            return [one for _, one in watching.seen if float(one["kwh"]) > 0 and one["cost_incl"] is not None]

        await pair.provider.until(flowing, bool)
        early = await me.post(f"/v1/me/roaming/sessions/{session}/unlock")
        assert early.status_code == 409
        wishes = {"profile_type": "FAST"}
        preferring = await me.put(f"/v1/me/roaming/sessions/{session}/charging-preferences", json=wishes)
        assert preferring.status_code == 409, preferring.text  # the EVSE takes none

        await done(me, "POST", f"/sessions/{session}/stop")
        seen = await watching.ended()
        assert seen[0][0] == "received_session.state"
        assert {kind for kind, _ in seen[1:]} == {"received_session.updated"}
        assert seen[-1][1]["status"] == "COMPLETED"
        assert (await me.post(f"/v1/me/roaming/sessions/{session}/stop")).status_code == 409
        unlocked = await done(me, "POST", f"/sessions/{session}/unlock")
        assert unlocked["type"] == "UNLOCK_CONNECTOR"
        assert "UnlockConnector" in [action for action, _ in station.calls]

        # What it came to: as the partner told it, by our agreement, with what the meter signed.
        async def billed() -> Any:
            return (await me.get("/v1/me/cdrs")).json()["items"]

        (cdr,) = await pair.provider.until(billed, bool)
        last = seen[-1][1]
        assert cdr["total_excl"]["amount"] == last["cost_excl"]["amount"]
        whole = (await me.get(f"/v1/me/cdrs/{cdr['id']}")).json()
        file = await me.get(f"/v1/me/cdrs/{cdr['id']}/transparency-file")
        assert (await other.get(f"/v1/me/cdrs/{cdr['id']}/transparency-file")).status_code == 404
        if version == "2.1.1":  # which has no signed data
            assert whole["signed_data"] is None
            assert file.status_code == 409
        else:
            said = whole["signed_data"]
            assert (said["values"], said["valid"], said["proven"], said["agrees"]) == (2, 2, True, True), said
            root = ElementTree.fromstring(file.content)
            assert [value.get("context") for value in root] == ["Transaction.Begin", "Transaction.End"]
            assert root[0].findtext("publicKey") == public_key_of(station.station_id)
            (theirs,) = (await pair.provider.get("/roaming/cdrs", driver_id=driver_id))["items"]
            assert theirs["signed_data"]["proven"]
        assert (await other.get("/v1/me/cdrs")).json()["items"] == []

        async def invoiced() -> Any:
            return (await me.get("/v1/me/invoices")).json()["items"]

        (invoice,) = await pair.provider.until(invoiced, bool)
        assert invoice["net"]["amount"] == cdr["total_excl"]["amount"], invoice

        # Read anew from the operator's lists: what was pushed, and nothing that could not be understood.
        for module in ("sessions", "cdrs"):
            (pulled,) = await pair.provider.send(
                "POST", f"/roaming/partners/{pair.connection}/pull", {"module": module, "full": True}
            )
            assert (pulled["objects"], pulled["refused"], pulled["gone"]) == (1, 0, 0), pulled


async def test_bad_input_at_the_drivers_door_names_what_is_wrong(houses: tuple[ChargingHouse, ChargingHouse]) -> None:
    pair = await shared(houses, "2.3.0")
    async with await signed_in(pair.provider.house.server, pair.provider) as me:
        until = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        at = {"partner": pair.partner, "location_id": pair.location}
        for path, body, named in (
            ("charges", {**at, "partner": "nobody"}, "partner"),
            ("charges", {**at, "partner": "XX*YYY"}, "partner"),
            ("charges", {"partner": pair.partner}, "location_id"),
            ("charges", {**at, "location_id": "x" * 37}, "location_id"),
            ("charges", {**at, "colour": "red"}, "colour"),
            ("reservations", {**at}, "until"),
            ("reservations", {**at, "until": "soon"}, "until"),
            ("reservations", {**at, "until": "2020-01-01T00:00:00Z"}, "until"),
            ("reservations", {**at, "until": until, "reservation_id": "R1"}, "reservation_id"),
        ):
            answer = await me.post(f"/v1/me/roaming/{path}", json=body)
            assert answer.status_code in (400, 422), (path, body, answer.text)
            assert named in answer.text, answer.text
        query: dict[str, Any]
        for query, named in (
            ({}, "latitude"),
            ({"latitude": 91, "longitude": 5}, "latitude"),
            ({"latitude": 52, "longitude": "x"}, "longitude"),
            ({"latitude": 52, "longitude": 5, "radius_m": 0}, "radius_m"),
            ({"latitude": 52, "longitude": 5, "current": "3AC"}, "current"),
            ({"latitude": 52, "longitude": 5, "energy_wh": "nan"}, "energy_wh"),
            ({"latitude": 52, "longitude": 5, "cursor": "nonsense"}, "cursor"),
        ):
            answer = await me.get("/v1/me/places", params=query)
            assert answer.status_code in (400, 422), (query, answer.text)
            assert named in answer.text, answer.text
        for method, path in (
            ("GET", "sessions/1"),
            ("GET", "sessions/nonsense"),
            ("GET", "sessions/1/live"),
            ("POST", "sessions/1/stop"),
            ("POST", "sessions/1/unlock"),
            ("GET", "charges/999999999"),
            ("POST", "reservations/NL*XXX/R1/cancel"),
        ):
            answer = await me.request(method, f"/v1/me/roaming/{path}")
            assert answer.status_code == 404, (path, answer.text)
        wrong = await me.put("/v1/me/roaming/sessions/1/charging-preferences", json={"profile_type": "FUN"})
        assert wrong.status_code == 422
        assert "profile_type" in wrong.text
    async with httpx.AsyncClient(base_url=pair.provider.house.base) as nobody:
        for path in ("/me/places?latitude=52&longitude=5", "/me/roaming/sessions", "/me/roaming/sessions/1/live"):
            assert (await nobody.get(path)).status_code == 401
