"""Compares the objects in src/chargeplane/ocpi with the tables of the specification, all three versions.

    make ocpi ARGS=/path/to/a/clone/of/ocpi

Says every difference that is not known; a known one stands in KNOWN with its reason. Ends with 1 where there is one.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "src")]

from chargeplane.ocpi.schema import Base, Field, fields_of  # noqa: E402
from ocpi_specification import VARIABLE, Row, Tables, read, repository  # noqa: E402

NAMES = {
    "Allowed": "AllowedType",
    "TimeSlot": "Timeslot",
    "BookingTokens": "BookingToken",
}
"""Names that the specification writes in two ways, and the one that the project has."""

KNOWN = {
    "2.1.1 Hours.twentyfourseven: ours ?, table 1": "one of two fields is there (choice); peers send either",
    "2.3.0 TerminalActivation: not in the tables": "a Terminal whose id is optional, described in words (POST activate)",
    "2.3.0 ModuleID: ours has bookings": "named by its chapter, not in the list of the core",
    "2.3.0 ModuleID: ours has invoicereconciliation": "named by its chapter, not in the list of the core",
    "2.3.0 ModuleID: ours has payments": "named by its chapter, not in the list of the core",
}


def differences(version: str, tables: Tables) -> list[str]:
    """What is not as in the tables, one line each."""
    objects, enums = ours(version)
    theirs = {NAMES.get(name, name): fields for name, fields in tables.objects.items() if fields}
    found = [f"{version} {name}: not in the project" for name in sorted(theirs.keys() - objects.keys())]
    found += [f"{version} {name}: not in the tables" for name in sorted(objects.keys() - theirs.keys())]
    for name in sorted(objects.keys() & theirs.keys()):
        found += [f"{version} {name}{line}" for line in compare(fields_of(objects[name]), theirs[name])]
    listed = {NAMES.get(name, name): values for name, values in tables.enums.items()}
    for name in sorted(listed.keys() - enums.keys()):
        found.append(f"{version} {name}: enumeration not in the project")
    for name in sorted(enums.keys() & listed.keys()):
        found += [f"{version} {name}: ours lacks {value}" for value in listed[name] if value not in set(enums[name])]
        found += [f"{version} {name}: ours has {value.value}" for value in enums[name] if value not in listed[name]]
    shapes = [field for shape in objects.values() for field in fields_of(shape).values()]
    opened = {field.choices.__name__ for field in shapes if field.choices and field.open}
    used = {field.choices.__name__ for field in shapes if field.choices}
    found += [f"{version} {name}: ours open, table closed" for name in sorted(opened - tables.open)]
    found += [f"{version} {name}: ours closed, table open" for name in sorted((tables.open & used) - opened)]
    return found


def compare(ours: dict[str, Field], table: dict[str, Row]) -> list[str]:
    """What differs between the fields of an object and the rows of its table."""
    found = [f".{name}: not in the project" for name in table.keys() - ours.keys()]
    found += [f".{name}: not in the table" for name in ours.keys() - table.keys()]
    for name in ours.keys() & table.keys():
        mine, row = ours[name], table[name]
        if mine.cardinality != row.cardinality:
            found.append(f".{name}: ours {mine.cardinality}, table {row.cardinality}")
        said, written = spelled(mine), wanted(row.type)
        if said != written:
            found.append(f".{name}: ours {said}, table {written}")
    return sorted(found)


def spelled(field: Field) -> str:
    """The type of a field, as `wanted` writes it."""
    if field.shape is not None:
        return field.shape.__name__
    if field.choices is not None:
        return field.choices.__name__
    if field.base is Base.TEXT:
        if field.url:
            return "URL"
        return ("cistring" if field.ci else "string") + (f"({field.max_length})" if field.max_length else "")
    if field.base is Base.INT:
        digits = {(1, 7): "(1)", (0, 99_999): "(5)"}.get((field.low or 0, field.high or 0), "")
        return f"int{digits}"
    return {Base.NUMBER: "number", Base.BOOL: "boolean", Base.TIME: "DateTime"}[field.base]


def wanted(written: str) -> str:
    """A type in a table, in one spelling: the tables have [36], (36) and (1..36)."""
    match = re.fullmatch(r"(CiString|[Ss]tring)(?:[\[(](?:1\.\.)?(\d+)[\])])?", written)
    if match:
        return match[1].lower() + (f"({match[2]})" if match[2] else "")
    return NAMES.get(written, written)


def ours(version: str) -> tuple[dict[str, type[Struct]], dict[str, type[StrEnum]]]:
    """The objects and enumerations of a version in the project, by name."""
    package = importlib.import_module(f"chargeplane.ocpi.v{version.replace('.', '_')}")
    objects: dict[str, type[Struct]] = {}
    enums: dict[str, type[StrEnum]] = {}
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        chapter = importlib.import_module(module.name)
        for name in chapter.__all__:
            value = getattr(chapter, name)
            if isinstance(value, type) and issubclass(value, Struct):
                objects[name] = value
            elif isinstance(value, type) and issubclass(value, StrEnum):
                enums[name] = value
    return objects, enums


def main() -> int:
    """Prints the differences that nobody knows of."""
    clone = Path(sys.argv[1]) if len(sys.argv) > 1 else repository()
    if clone is None:
        print(f"Skipped: 3 versions. No clone of the specification (argument, or {VARIABLE}).")
        return 0
    bad = 0
    for version in ("2.3.0", "2.2.1", "2.1.1"):
        tables = read(clone, version)
        found = differences(version, tables)
        unknown = [line for line in found if line not in KNOWN]
        rows = sum(len(fields) for fields in tables.objects.values()) + sum(
            len(values) for values in tables.enums.values()
        )
        print(
            f"OCPI {version}: {rows} rows of tables, {len(found) - len(unknown)} known differences, {len(unknown)} others"
        )
        for line in unknown:
            print("  ", line)
        bad += len(unknown)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
