"""What the directory knows of a station's model: by its last boot, wherever that was told."""

from __future__ import annotations

from typing import Any

from chargeplane.app.directory import Directory
from chargeplane.domain.messages import Boot
from chargeplane.domain.quirks import NOTHING, Limit, Quirk
from chargeplane.kernel.ids import StationKey

RULE = Quirk(name="acme", does="x.", vendor="Acme", limits=frozenset({Limit.NO_POWER_SAMPLES}))


class Rows:
    """A database of one station."""

    def __init__(self) -> None:
        self.vendor: str | None = None

    async def __call__(self, query: str, *_: object) -> list[dict[str, Any]]:
        if "FROM tenant" in query:
            tenant = {"id": 1, "slug": "default", "unknown_stations": None, "heartbeat_interval_s": None}
            return [{**tenant, "settings": "{}", "quirks": "[]"}]
        return [
            _Row(
                key=1,
                tenant_id=1,
                station_id="CS1",
                security_profile=0,
                registration="Accepted",
                settings="{}",
                vendor=self.vendor,
            )
        ]


class _Row(dict[str, Any]):
    def __missing__(self, name: str) -> None:
        return None


async def test_what_another_node_was_told_at_a_boot_counts_once_the_station_is_read_again() -> None:
    rows = Rows()
    directory = Directory(rows, (RULE,))
    await directory.load()
    opened_with = directory.by_key(StationKey(1))
    assert opened_with is not None
    assert directory.known(opened_with) is NOTHING
    rows.vendor = "Acme"
    await directory.refresh([StationKey(1)])
    assert directory.known(opened_with).limits == {Limit.NO_POWER_SAMPLES: "acme"}


async def test_boot_on_this_node_counts_over_what_is_stored() -> None:
    rows = Rows()
    rows.vendor = "Acme"
    directory = Directory(rows, (RULE,))
    await directory.load()
    credentials = directory.by_key(StationKey(1))
    assert credentials is not None
    assert directory.recognised(credentials, Boot(vendor="Other")) is NOTHING
    await directory.refresh([StationKey(1)])
    assert directory.known_of(StationKey(1)) is NOTHING
    directory.forget_told(StationKey(1))
    assert directory.known_of(StationKey(1)).quirks == (RULE,)
    assert directory.known_of(StationKey(2)) is NOTHING
