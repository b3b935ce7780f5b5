"""The tables of a result, as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.bench.report import _number, _table

BEGIN, END = "<!-- roaming -->", "<!-- /roaming -->"


def _seconds(row: dict[str, Any]) -> str:
    cpu, wall = row["cpu_s"], row.get("wall_s") or row["seconds"]
    return " / ".join(_number(cpu.get(name, 0) / wall, 2) for name in ("server", "postgres", "others"))


def _pages(part: dict[str, Any]) -> str:
    rows = [
        [
            version,
            _number(row["locations"]),
            _number(row["per_core_s"]),
            _number(row["per_s"]),
            _number(row["page_p50_ms"], 1),
            _number(row["page_max_ms"], 1),
            f"{_number(row['rss_mib_before'])} to {_number(row['rss_mib_after'])}",
            _seconds(row),
        ]
        for version, row in part.items()
    ]
    head = "version | Locations | a second of the server's core | a second | page p50 ms | slowest page ms | server's MiB | cores: server / PostgreSQL / others"
    return "### Pages of our Locations\n\n" + _table(head, rows)


def _in_turn(part: dict[str, Any]) -> str:
    rows = []
    for name, row in part.items():
        ours, peer = row["server"], row.get("peer", {})
        rows.append(
            [
                name,
                _number(ours["per_s"]),
                _number(peer.get("per_s"), 1),
                _number(row.get("times_per_s"), 1),
                _number(row.get("times_per_core_s"), 1),
                _number(ours.get("p50_ms"), 1),
                _number(ours.get("p99_ms"), 1),
                _number(peer.get("p99_ms"), 1),
            ]
        )
    head = "what | a second | peer | times | times by the server's CPU | p50 ms | p99 ms | peer's p99 ms"
    return "### In turn with `extrawest-ocpi`\n\n" + _table(head, rows)


def _pull(part: dict[str, Any]) -> str:
    rows = [
        [
            name,
            _number(row["locations"]),
            _number(row["per_s"]),
            _number(row["seconds"], 1),
            f"{_number(row['rss_mib_before'])} to {_number(row['rss_mib_after'])}",
            _seconds(row),
        ]
        for name, row in (("all new", part["first"]), ("again, unchanged", part["again"]))
    ]
    head = "pull | Locations | a second | s | server's MiB | cores: server / PostgreSQL / others"
    return "### Our client reads a partner's Locations and stores them\n\n" + _table(head, rows)


def _authorize(part: dict[str, Any]) -> str:
    row = [_number(part["rate"])] + [_number(part[name], 1) for name in ("p50_ms", "p99_ms", "max_ms")]
    row += [_number(part["generator_late_p99_ms"], 1), _seconds(part)]
    head = "asked a second | p50 ms | p99 ms | max ms | generator's own p99 ms | cores: server / PostgreSQL / others"
    return "### Real-time authorisation\n\n" + _table(head, [row])


def _fan_out(part: dict[str, Any]) -> str:
    rows = []
    for name in ("open", "closed"):
        for who, count in (("alone", 0), ("many", part["partners"])):
            row = part[name][who]
            rows.append(
                [
                    f"{name} loop, {count} partners",
                    _number(row["calls_per_s"]),
                    _number(row["p50_ms"], 1),
                    _number(row["p99_ms"], 1),
                    _number(row["pushes"] / row["wall_s"]),
                    _seconds(row),
                ]
            )
    head = "StatusNotification | a second | p50 ms | p99 ms | pushes a second | cores: server / PostgreSQL / others"
    text = "; ".join(
        f"{name} loop, with partners to without: rate {part[name]['ratio_calls_per_s']}, p50 {part[name]['ratio_p50_ms']}, p99"
        f" {part[name]['ratio_p99_ms']}, every partner had the newest state {part[name]['caught_up_s']} s after the last message"
        for name in ("open", "closed")
    )
    return "### Status to many partners\n\n" + _table(head, rows) + f"\n{part['stations']} stations. {text}.\n"


_RENDER = {"pages": _pages, "in_turn": _in_turn, "pull": _pull, "authorize": _authorize, "fan_out": _fan_out}


def tables(result: dict[str, Any]) -> str:
    """All tables of a result."""
    host, args = result["host"], result["args"]
    head = (
        f"Measured on {result['started'][:16].replace('T', ' ')}: {host['cpu']}, {host['cores']} cores, Python {host['python']}, medians of"
        f" {args['repeat']}; {args['locations']:,} Locations of about 1,900 bytes with two EVSEs, pages of {args['page']:,}, {args['connections']}"
        f" partners' connections; runs of {args['duration']:g} s. {result['others']:.2f} cores were busy with other work.\n"
    )
    return "\n".join([head, *(render(result[name]) for name, render in _RENDER.items() if result.get(name))])


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the markers of a page."""
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
