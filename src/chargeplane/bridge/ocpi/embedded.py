"""The Location that OCPI 2.1.1 has inside sessions and CDRs, where later versions have ids or a CdrLocation."""

from __future__ import annotations

from typing import Final

from chargeplane.bridge.ocpi.losses import Why
from chargeplane.bridge.ocpi.plan import GONE, At, Plan, Run, Tree
from chargeplane.ocpi.fields import same

_IDS: Final = ("location_id", "evse_uid", "connector_id")
_MISSING: Final = "#NA"
"""An EVSE or connector that is not known (OCPI 2.3.0 mod_cdrs, CdrLocation: `#NA` where a reservation never became a session)."""


def session_location(run: Run, source: Tree, target: Tree, at: At, plan: Plan) -> None:
    """Puts the Location into a Session of 2.1.1: the one it came with, or the one that is known by its id.

    Args:
        plan: from a canonical Location to one of 2.1.1.
    """
    if "location" in target:
        return
    ids = tuple(str(source.get(name) or "") for name in _IDS)
    known = run.context.find_location(*ids) if ids[0] else None
    if known is not None:
        before = len(run.losses)
        made = plan(run, _narrowed(known, ids[1], ids[2]), (at, "location"))
        if made is not GONE:
            # It only says where; what a Location loses is told where the Location itself is sent.
            del run.losses[before:]
            target["location"] = made
    elif run.partial:
        for name in _IDS:
            if name in source:
                run.lose((at, name), source[name], Why.NO_FIELD)


def cdr_location(run: Run, source: Tree, target: Tree, at: At, plan: Plan) -> None:
    """Puts the Location into a CDR of 2.1.1: the one it came with, else its CdrLocation with what is known beside it."""
    place = source.get("cdr_location")
    if "location" in target or place is None:
        return
    known = run.context.find_location(place["id"], place["evse_uid"], place["connector_id"])
    where = (at, "cdr_location")
    made = plan(run, _of_cdr(run, source, place, known, where), where)
    if made is not GONE:
        target["location"] = made


def session_ids(run: Run, source: Tree, target: Tree, at: At) -> None:
    """The ids of a Session from its Location of 2.1.1, which stays beside them: a partner of 2.1.1 gets it back."""
    location = source.get("location")
    if location is None:
        return
    evse, connector = _inner(location)
    target["location_id"] = location["id"]
    target["evse_uid"] = evse.get("uid") or run.fill((at, "evse_uid"), _MISSING)
    target["connector_id"] = connector.get("id") or run.fill((at, "connector_id"), _MISSING)


def location_of_cdr(run: Run, source: Tree, target: Tree, at: At) -> None:
    """The CdrLocation of a CDR from its Location of 2.1.1, which stays beside it."""
    location = source.get("location")
    if location is None:
        return
    where = (at, "cdr_location")
    evse, connector = _inner(location)
    place = {
        name: location[name] for name in ("id", "name", "address", "city", "postal_code", "country") if name in location
    }
    if place.get("postal_code") == "-":
        del place["postal_code"]
    place["coordinates"] = location["coordinates"]
    place["evse_uid"] = evse.get("uid") or run.fill((where, "evse_uid"), _MISSING)
    place["evse_id"] = evse.get("evse_id") or run.fill((where, "evse_id"), _MISSING)
    place["connector_id"] = connector.get("id") or run.fill((where, "connector_id"), _MISSING)
    for name, wanted, otherwise in (
        ("standard", "connector_standard", "IEC_62196_T2"),
        ("format", "connector_format", "SOCKET"),
        ("power_type", "connector_power_type", "AC_3_PHASE"),
    ):
        place[wanted] = connector.get(name) or run.fill((where, wanted), otherwise)
    target["cdr_location"] = place


def _narrowed(location: Tree, evse_uid: str, connector_id: str) -> Tree:
    """The Location with the one EVSE and connector (OCPI 2.1.1 mod_sessions, Session.location)."""
    evses = [
        {
            **evse,
            "connectors": [one for one in evse["connectors"] if same(one["id"], connector_id)] or evse["connectors"],
        }
        for evse in location.get("evses") or ()
        if same(evse["uid"], evse_uid)
    ]
    return {**location, "evses": evses}


def _of_cdr(run: Run, cdr: Tree, place: Tree, known: Tree | None, at: At) -> Tree:
    """A canonical Location as it was at the time of a CDR, as far as the CDR tells."""
    evse, connector = _inner(_narrowed(known or {}, place["evse_uid"], place["connector_id"]))
    direct = str(place.get("connector_power_type", "")).startswith("DC")
    # What the CDR does not tell stands as it is known; some of it partners of 2.1.1 want to have.
    beside = {name: connector[name] for name in ("tariff_ids",) if connector.get(name)}
    around = {name: known[name] for name in ("time_zone", "parking_type") if known and known.get(name)}
    connector = {
        **beside,
        "max_voltage": connector.get("max_voltage") or run.fill((at, "max_voltage"), 400 if direct else 230),
        "max_amperage": connector.get("max_amperage") or run.fill((at, "max_amperage"), 0),
        "id": place["connector_id"],
        "standard": place["connector_standard"],
        "format": place["connector_format"],
        "power_type": place["connector_power_type"],
        "last_updated": cdr["last_updated"],
    }
    evse = {
        "uid": place["evse_uid"],
        "status": evse.get("status") or "UNKNOWN",
        "connectors": [connector],
        "last_updated": cdr["last_updated"],
    }
    if place.get("evse_id") not in (None, _MISSING):
        evse["evse_id"] = place["evse_id"]
    there: Tree = {
        name: place[name]
        for name in ("id", "name", "address", "city", "postal_code", "state", "country", "coordinates")
        if name in place
    }
    return {**around, **there, "evses": [evse], "last_updated": cdr["last_updated"]}


def _inner(location: Tree) -> tuple[Tree, Tree]:
    """The first EVSE and its first connector; empty where there is none."""
    evses = location.get("evses") or [{}]
    connectors = evses[0].get("connectors") or [{}]
    return evses[0], connectors[0]
