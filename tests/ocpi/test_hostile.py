"""Whatever comes: an answer that names what is wrong, or a document that can be kept, sent on and read again."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from chargeplane.kernel.text import storable
from chargeplane.ocpi.documents import Document, DocumentError, MalformedError, decode, encode_tree, parse, read
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import MODELS
from chargeplane.ocpi.repairs import MAX_PROBLEMS
from chargeplane.ocpi.versions import Version
from tests.support.ocpi_documents import objects, tree

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.text(max_size=20)
    | st.sampled_from(["", "\x00", "NaN", "Infinity", "1E+999", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59"])
)
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVERY = [(version, kind, shape) for version in Version for kind, shape in objects(version)]


def spoiled(made: dict[str, Any], chance: random.Random, junk: list[Any]) -> Any:
    """A document with values replaced, dropped or wrapped at random places."""
    spots: list[tuple[Any, Any]] = []

    def gather(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            spots.append((value, key))
            if isinstance(value[key], (dict, list)):
                gather(value[key])

    gather(made)
    for item in junk:
        holder, key = chance.choice(spots)
        if isinstance(holder, dict) and key not in holder:
            continue
        match chance.randrange(4):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1:
                holder[key] = [holder[key]]
            case 2:
                holder[key] = str(holder[key])
            case _:
                holder[key] = item
    return made


def check(document: Document) -> None:
    written = document.encode()
    again = decode(document.kind, document.version, written, partial=document.partial)
    assert again.tree == document.tree
    # What was mended once needs only what is kept as sent to be told again.
    assert {repair.mend for repair in again.repairs} <= {repair.mend for repair in document.repairs}
    assert all(storable(text) for text in _texts(document.tree))


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(("version", "kind", "shape"), EVERY, ids=lambda value: str(getattr(value, "value", "")))
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(JUNK, min_size=1, max_size=4), st.booleans())
def test_spoiled_documents_are_taken_or_refused_by_pointers(
    version: Version, kind: Kind, shape: type[Struct], seed: int, junk: list[Any], partial: bool
) -> None:
    chance = random.Random(seed)
    made = spoiled(tree(shape, chance), chance, junk)
    refused: DocumentError | None = None
    try:
        check(read(kind, version, parse(encode_tree(made)), partial=partial))
    except DocumentError as error:
        refused = error
    except MalformedError:
        return  # numbers beyond reason
    if refused is not None:
        assert 0 < len(refused.fields) <= MAX_PROBLEMS
        assert all(sentence and (not pointer or pointer.startswith("/")) for pointer, sentence in refused.fields)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EVERY), st.binary(max_size=60) | JUNK.map(encode_tree), st.booleans())
def test_garbage_is_refused(case: tuple[Version, Kind, type[Struct]], body: bytes, partial: bool) -> None:
    version, kind, _ = case
    try:
        document = decode(kind, version, body, partial=partial)
    except (DocumentError, MalformedError):
        return
    check(document)


@pytest.mark.parametrize("kind", list(MODELS[Version.V2_3_0]), ids=str)
def test_deep_nesting_is_refused(kind: Kind) -> None:
    deep = b'{"nlabc":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    with pytest.raises((MalformedError, DocumentError)):
        decode(kind, Version.V2_3_0, deep)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(EVERY), st.integers(0, 2**32))
def test_right_documents_need_no_repair(case: tuple[Version, Kind, type[Struct]], seed: int) -> None:
    version, kind, shape = case
    made = tree(shape, random.Random(seed))
    document = decode(kind, version, encode_tree(made))
    assert document.repairs == ()
    assert document.tree == made
