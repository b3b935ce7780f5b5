"""Paths of ours to rows of the table.

    /ocpi/versions
    /ocpi/{version}
    /ocpi/{version}/credentials
    /ocpi/{version}/{sender|receiver}/{module}/...

Sender and receiver of a module have prefixes of their own: both have paths of three segments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from chargeplane.kernel.text import storable
from chargeplane.ocpi.table import TABLE, Endpoint, Interface, Module
from chargeplane.ocpi.versions import Version

_VERSIONS: Final = {version.value: version for version in Version}


class Found:
    """What is at a path.

    Attributes:
        version: of the path; the newest for the list of versions.
    """

    __slots__ = ("_rows", "version")

    def __init__(self, version: Version, rows: list[tuple[Endpoint, dict[str, str]]]) -> None:
        self.version = version
        self._rows = rows

    @property
    def configuration(self) -> bool:
        """Whether it is of a configuration module."""
        return self._rows[0][0].configuration

    @property
    def open_to_invited(self) -> bool:
        """Whether an invitation opens it."""
        return self._rows[0][0].module in (Module.VERSIONS, Module.CREDENTIALS)

    @property
    def methods(self) -> list[str]:
        """Methods it knows."""
        return [row.method.value for row, _ in self._rows]

    def row_of(self, method: str) -> tuple[Endpoint | None, dict[str, str]]:
        """The row of a method with the path's values; None where there is none."""
        for row, values in self._rows:
            if row.method.value == method:
                return row, values
        return None, {}


class Routes:
    """Finds rows.

    Args:
        offered: numbers of the rows that are answered.
    """

    def __init__(self, offered: Iterable[int]) -> None:
        self._by_prefix: dict[tuple[Version, str, str], list[tuple[tuple[str, ...], Endpoint]]] = {}
        self._fixed: dict[int, Endpoint] = {}
        for number in sorted(offered):
            row = TABLE[number]
            if row.interface is Interface.BOTH:
                self._fixed[number] = row
                continue
            segments = tuple(part for part in row.path.split("/") if part)
            for version in Version:
                if row.is_in(version):
                    key = (version, row.interface.value.lower(), row.module.value)
                    self._by_prefix.setdefault(key, []).append((segments, row))
        for rows in self._by_prefix.values():
            # Fixed words before variables: `terminals/activate` before `terminals/{terminal_id}`.
            rows.sort(key=lambda item: sum(part.startswith("{") for part in item[0]))

    def modules(self, version: Version) -> list[tuple[str, str]]:
        """Modules and interfaces that a version has here."""
        return [(module, side.upper()) for found, side, module in self._by_prefix if found is version]

    def find(self, path: str) -> Found | None:
        """What is at a path below `/ocpi`; None where there is nothing."""
        parts = [part for part in path.split("/") if part]
        if parts == ["versions"]:
            return self._of_rows(Version.V2_3_0, (1,), {})
        version = _VERSIONS.get(parts[0]) if parts else None
        if version is None:
            return None
        if len(parts) == 1:
            return self._of_rows(version, (2,), {"version": version.value})
        if parts[1:] == ["credentials"]:
            return self._of_rows(version, (3, 4, 5, 6), {})
        if len(parts) < 3:
            return None
        rows = self._by_prefix.get((version, parts[1], parts[2]))
        return None if rows is None else self._matching(version, rows, parts[3:])

    def _of_rows(self, version: Version, numbers: tuple[int, ...], values: dict[str, str]) -> Found | None:
        rows = [(self._fixed[number], values) for number in numbers if number in self._fixed]
        return Found(version, rows) if rows else None

    def _matching(
        self, version: Version, rows: list[tuple[tuple[str, ...], Endpoint]], given: list[str]
    ) -> Found | None:
        found = []
        for segments, row in rows:
            if len(segments) == len(given):
                values = _values(segments, given)
                if values is not None:
                    found.append((row, values))
        return Found(version, found) if found else None


def _values(segments: tuple[str, ...], given: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for segment, part in zip(segments, given, strict=True):
        if segment.startswith("{"):
            try:
                text = unquote_to_bytes(part).decode()
            except UnicodeDecodeError:
                return None
            if not storable(text) or len(text) > 255:
                return None
            values[segment[1:-1]] = text
        elif segment != part:
            return None
    return values


def url_of(base_url: str, version: Version, module: str, interface: str) -> str:
    """Where we have a module's interface."""
    return f"{base_url}/{version}/{interface.lower()}/{module}"
