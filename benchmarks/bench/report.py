"""The tables of docs/benchmarks.md, from a result file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _cores(row: dict[str, Any]) -> str:
    cores = row["cpu_cores"]
    return " / ".join(_number(cores.get(name), 2) for name in ("server", "postgres", "generator"))


def _table(head: str, rows: list[list[str]]) -> str:
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + " --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _throughput(part: dict[str, Any]) -> str:
    rows = []
    for key, row in part.items():
        if key == "rest_sample":
            continue
        ours, peer = row["server"], row.get("peer", {})
        rows.append(
            [
                key,
                _number(ours["calls_per_s"]),
                _number(peer.get("calls_per_s")),
                _number(row.get("times_the_peer"), 1),
                _number(ours["p50_ms"], 1),
                _number(ours["p99_ms"], 1),
                _cores(ours),
                "yes" if ours.get("all_stored") and not ours["problems"] else "NO",
            ]
        )
    head = "version, scenario | calls/s | peer | times | p50 ms | p99 ms | cores: server / PostgreSQL / generator | all stored"
    return "### Closed loop\n\n" + _table(head, rows)


def _half_load(part: dict[str, Any]) -> str:
    rows = [
        [
            key,
            _number(row["rate"]),
            *(_number(row[level], 2) for level in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
            _number(row["dispatch_lag_p99_ms"], 2),
            _cores(row),
        ]
        for key, row in part.items()
    ]
    head = "version, scenario | calls/s | p50 ms | p99 ms | p99.9 ms | max ms | generator's own p99 ms | cores"
    return "### Open loop at half load\n\n" + _table(head, rows)


def _memory(part: dict[str, Any]) -> str:
    rows = []
    for name, row in part.items():
        few, many = (row["readings"][str(count)]["server"]["rss_kib"] / 1024 for count in row["connections"])
        rows.append([name, _number(few), _number(many), _number(row["rss_kib_per_connection"], 1)])
    counts = next(iter(part.values()))["connections"]
    head = f"connections | MiB at {counts[0]:,} | MiB at {counts[1]:,} | KiB each"
    return "### Memory of idle connections\n\n" + _table(head, rows)


def _storm(part: dict[str, Any]) -> str:
    text = f"{part['stations']:,} stations connect and boot at once: {_number(part['boots_per_s'])} a second, "
    accepted = ", ".join(f"{count:,}" for count in part["accepted"])
    return (
        "### Reconnect storm\n\n"
        + text
        + f"accepted {accepted}; p99 from connecting to the accepted boot {_number(part['connect_and_boot_p99_ms'])} ms.\n"
    )


def _wss(part: dict[str, Any]) -> str:
    rows = []
    for tls in ("1.3", "1.2"):
        for kind in ("full", "resumed"):
            row = part[tls][kind]
            rows.append(
                [
                    f"TLS {tls}, {kind}",
                    _number(row["per_s"]),
                    _number(row["p50_ms"], 1),
                    _number(row["p99_ms"], 1),
                    f"{row['resumed']:,} of {row['connections']:,}",
                    _number(row["failed"]),
                ]
            )
    memory = part["memory"]
    few, many = memory["rss_kib"]
    text = (
        f"\nIdle sockets: {_number(memory['rss_kib'][few] / 1024)} MiB with {int(few):,}, "
        f"{_number(memory['rss_kib'][many] / 1024)} MiB with {int(many):,}: {memory['kib_per_connection']:.1f} KiB each.\n"
    )
    return "### TLS\n\n" + _table("handshake and boot | a second | p50 ms | p99 ms | resumed | failed", rows) + text


_RENDER = {"throughput": _throughput, "half_load": _half_load, "memory": _memory, "storm": _storm, "wss": _wss}


def tables(result: dict[str, Any]) -> str:
    """All tables of a result, as Markdown."""
    host = result["host"]
    head = f"Measured on {result['started'][:10]}: {host['cpu']}, {host['cores']} cores, Python {host['python']}, "
    head += f"{result['prefilled']:,} transactions stored before, {result['args']['connections']} connections, medians of {result['args']['repeat']} runs of "
    head += f"{result['args']['duration']:g} s.\n"
    return "\n".join([head, *(render(result[name]) for name, render in _RENDER.items() if name in result)])


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the markers of a page."""
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
