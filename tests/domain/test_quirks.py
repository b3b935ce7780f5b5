"""Rules about vendors, models and firmwares: how they are read, matched and replaced."""

from __future__ import annotations

import time

import pytest

from chargeplane.domain.charging_dialects import Trait
from chargeplane.domain.quirks import NOTHING, Limit, Origin, Quirk, QuirkTable, WireRule, built_in, checked, parse
from chargeplane.kernel.errors import InvalidInputError

GOOD = """# ours
[[quirk]]
name = "acme_ids"
does = "x."
vendor = "Acme"
limits = ["boot_not_triggered"]

[[quirk]]
name = "acme_slow"
does = "x."
vendor = ["Acme", "Acme *"]
answer_within_s = { "*" = 60, GetLog = 120.5 }

[[quirk.wire]]
action = "StatusNotification"
rename = { connector_no = "connectorId" }
"""


def test_file_of_rules() -> None:
    first, second = parse(GOOD, "own.toml")
    assert first.limits == {Limit.BOOT_NOT_TRIGGERED}
    assert second.answer_within_s == {"*": 60.0, "GetLog": 120.5}
    assert second.wire == (WireRule(action="StatusNotification", rename={"connector_no": "connectorId"}),)


@pytest.mark.parametrize(
    ("good", "bad", "line", "says"),
    [
        ('does = "x."\nvendor = "Acme"', 'does = "x."\nvendr = "Acme"', 5, "vendr"),
        ('"boot_not_triggered"', '"boot_not_triggerd"', 6, "boot_not_triggerd"),
        ('name = "acme_slow"', 'name = "acme_ids"', 9, "stands in line 3 already"),
        ("GetLog = 120.5", "GetLog = -1", 12, "> 0"),
        ('vendor = "Acme"\n', "", 2, "names a vendor"),
        ('rename = { connector_no = "connectorId" }', "renam = 1", 16, "renam"),
        ('vendor = "Acme"\nlimits', 'vendor = "Acme"\ntime_zone = "Mars/Olympus"\nlimits', 6, "Mars/Olympus"),
        ('name = "acme_slow"', "name = ", 9, "Invalid value"),
        ('limits = ["boot_not_triggered"]', "", 3, "a repair or a limit"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_line(good: str, bad: str, line: int, says: str) -> None:
    assert good in GOOD
    with pytest.raises(InvalidInputError) as refused:
        parse(GOOD.replace(good, bad), "own.toml")
    assert str(refused.value).startswith(f"own.toml, line {line}: ")
    assert says in str(refused.value)


def rule(name: str = "acme_rule", *, vendor: str | None = "Acme", model: str | None = None, **more: object) -> Quirk:
    given: dict[str, object] = {"limits": frozenset({Limit.NO_POWER_SAMPLES}), **more}
    return Quirk(name=name, does="x.", vendor=vendor, model=model, **given)  # type: ignore[arg-type]


def test_later_rule_replaces_the_earlier_one_of_its_name_or_ends_it() -> None:
    house = (Origin.BUILT_IN, (rule("acme_a"), rule("acme_b")))
    table = QuirkTable(house, (Origin.FILE, (rule("acme_a", limits=frozenset({Limit.LOOSE_UPGRADE})),)))
    assert set(table.of("acme", None, None).limits) == {Limit.LOOSE_UPGRADE, Limit.NO_POWER_SAMPLES}
    assert table.rule("acme_a") == (table.rules[0][0], Origin.FILE)
    ended = QuirkTable(house, (Origin.TENANT, (Quirk(name="acme_a", off=True), Quirk(name="acme_b", off=True))))
    assert ended.of("acme", None, None) is NOTHING


@pytest.mark.parametrize(
    ("patterns", "text", "matches"),
    [
        ("Acme*", "ACME Charging", True),
        ("Acme", "Acme Charging", False),
        (("Acme", "Beta?"), "Beta1", True),
        (("Acme", "Beta?"), "Beta12", False),
        ("*x*y*z", "axbyczd", False),
        ("V[0-3].*", "v2.9", True),
        ("a|b", "a", False),
        (".*", "x", False),
    ],
)
def test_patterns_are_those_of_a_shell(patterns: str | tuple[str, ...], text: str, matches: bool) -> None:
    table = QuirkTable((Origin.FILE, (rule(vendor=None, firmware=patterns),)))
    assert bool(table.of(None, None, text)) is matches


def test_no_pattern_takes_long() -> None:
    table = QuirkTable((Origin.TENANT, (rule(vendor="*a" * 127 + "b"),)))
    before = time.perf_counter()
    assert not table.of("a" * 255, None, None)
    assert time.perf_counter() - before < 0.5


def test_rules_by_station_reach_those_that_never_booted() -> None:
    table = QuirkTable((Origin.TENANT, (rule(vendor=None, station="DEPOT-*"),)))
    assert table.of(None, None, None, "Depot-1")
    assert not table.of(None, None, None, "HOME-1")


def test_rules_given_as_structs_name_the_field_that_is_wrong() -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked((rule("acme_a"), rule("acme_b", vendor=None)))
    assert refused.value.fields[0][0] == "/quirks/1/vendor"
    with pytest.raises(InvalidInputError) as refused:
        checked((rule("acme_a"), rule("acme_a")))
    assert refused.value.fields[0][0] == "/quirks/1/name"


def test_every_rule_of_the_package_can_be_read() -> None:
    assert len(built_in()) >= 4


def test_refusals_of_charging_profiles_feed_what_is_learned_of_models() -> None:
    homecharge = rule("watts_only", model="SECC-01", charging=frozenset({Trait.NO_AMPERES}))
    table = QuirkTable((Origin.FILE, (homecharge,)))
    assert table.of("Acme", "secc-01", None).charging == {Trait.NO_AMPERES}
    assert NOTHING.charging == frozenset()
