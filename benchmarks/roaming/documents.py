"""Locations that are right in OCPI 2.2.1 and 2.3.0, of about 1,900 bytes; of the standard library alone, since the peer has packages of its own."""

import json

STAMP = "2026-01-01T00:00:00Z"
COUNTRY, PARTY = "DE", "ABC"


def location(number, country=COUNTRY, party=PARTY):
    """A Location with two EVSEs, as a tree."""
    return {
        "country_code": country,
        "party_id": party,
        "id": f"LOC{number}",
        "publish": True,
        "name": f"Ladeplatz {number}",
        "address": "Hauptstraße 1",
        "city": "Würzburg",
        "postal_code": "97070",
        "country": "DEU",
        "coordinates": {"latitude": f"{47 + number % 8000 / 1000:.5f}", "longitude": f"{6 + number % 9000 / 1000:.5f}"},
        "parking_type": "ON_STREET",
        "evses": [_evse(number, at, country, party) for at in range(2)],
        "directions": [{"language": "de", "text": "Hinter dem Bahnhof links, dann bis zum Ende der Straße."}],
        "operator": {"name": "ABC Strom", "website": "https://abc.example.com/"},
        "facilities": ["SUPERMARKET", "TRAIN_STATION"],
        "time_zone": "Europe/Berlin",
        "opening_times": {"twentyfourseven": True},
        "charging_when_closed": True,
        "last_updated": STAMP,
    }


def _evse(number, at, country, party):
    return {
        "uid": uid(number, at),
        "evse_id": f"{country}*{party}*E{number}*{at}",
        "status": "AVAILABLE",
        "capabilities": ["RFID_READER", "REMOTE_START_STOP_CAPABLE", "UNLOCK_CAPABLE"],
        "connectors": [
            _connector("1", "IEC_62196_T2", "SOCKET", "AC_3_PHASE", 230, 32, 22_000),
            _connector("2", "IEC_62196_T2_COMBO", "CABLE", "DC", 920, 125, 50_000),
        ],
        "floor_level": "-1",
        "physical_reference": f"{number % 90}-{at}",
        "last_updated": STAMP,
    }


def _connector(ident, standard, form, power_type, voltage, amperage, power):
    return {
        "id": ident,
        "standard": standard,
        "format": form,
        "power_type": power_type,
        "max_voltage": voltage,
        "max_amperage": amperage,
        "max_electric_power": power,
        "tariff_ids": ["T1"],
        "last_updated": STAMP,
    }


def uid(number, at):
    """Of an EVSE."""
    return f"{number}-{at}"


def encoded(number, country=COUNTRY, party=PARTY):
    """The same as JSON, compact."""
    return json.dumps(location(number, country, party), separators=(",", ":"), ensure_ascii=False).encode()
