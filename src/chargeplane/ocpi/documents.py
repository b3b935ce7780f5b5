"""Bodies of OCPI, decoded and encoded.

A document is two views of one body. Its tree is what was sent, with unknown fields, the order of fields and the digits
of numbers kept: that is what is stored, merged, converted and sent on. Its value is the struct of its version, for
whoever reads fields. The struct is made from the tree and never the other way, so that nothing is lost by reading.

Most bodies fit their struct, and msgspec does all of it. One that does not goes the slow way through
`chargeplane.ocpi.repairs`, which tells what is wrong from what partners commonly send.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import PeerError
from chargeplane.ocpi.fields import number, written
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import MODELS, Model, model_of
from chargeplane.ocpi.repairs import MAX_PROBLEMS, Repair, Walk
from chargeplane.ocpi.schema import Base, fields_of
from chargeplane.ocpi.versions import Version

T = TypeVar("T")

DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""Everything that decoding bytes from outside may raise."""


class MalformedError(PeerError):
    """The body is no JSON (HTTP 400)."""


class DocumentError(PeerError):
    """The body is JSON and not the object it should be (OCPI status 2001).

    Args:
        kind: what it should be.
        fields: (JSON pointer, sentence) per wrong field, at most 50.
    """

    def __init__(self, kind: Kind, version: Version, fields: tuple[tuple[str, str], ...]) -> None:
        pointer, sentence = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"This is no {kind} of OCPI {version}: {pointer or '/'}: {sentence}{more}")
        self.kind = kind
        self.version = version
        self.fields = fields


class Document(Struct, frozen=True, kw_only=True):
    """A body.

    Args:
        kind: what it is.
        version: whose struct its value is.
        tree: the JSON: objects as dict in the order sent, numbers as int or Decimal. Treat it as frozen.
        value: the struct of the kind, or the member of an enumeration; None for a PATCH, whose fields may lack.
        partial: a PATCH.
        repairs: what was repaired or let pass on the way in.
    """

    kind: Kind
    version: Version
    tree: Any
    value: Any
    partial: bool = False
    repairs: tuple[Repair, ...] = ()

    def as_(self, shape: type[T]) -> T:
        """The value, for the type checker.

        Raises:
            TypeError: it is of another type.
        """
        if not isinstance(self.value, shape):
            raise TypeError(f"A {self.kind} of OCPI {self.version} is no {shape.__name__}")
        return self.value

    def encode(self) -> bytes:
        """The JSON text, compact; fields in the order they came, unknown ones among them."""
        return encode_tree(self.tree)

    def unknown(self) -> tuple[str, ...]:
        """Pointers of the fields that the version does not have."""
        shape = model_of(self.kind, self.version)
        return () if issubclass(shape, StrEnum) else tuple(_unknown(self.tree, shape, ""))


def decode(kind: Kind, version: Version, data: bytes | str, *, partial: bool = False) -> Document:
    """Reads a body.

    Args:
        data: JSON text.
        partial: the body of a PATCH: every field may lack, null stays as sent.
    Raises:
        MalformedError: it is no JSON.
        DocumentError: it is not the object, and not what partners commonly send for it.
    """
    return read(kind, version, parse(data), partial=partial)


def read(kind: Kind, version: Version, tree: Any, *, partial: bool = False) -> Document:
    """A body that was parsed already (`parse`), such as an item of a list.

    Raises:
        DocumentError: it is not the object, and not what partners commonly send for it.
    """
    model = model_of(kind, version)
    if not partial:
        seen = tree
        try:
            try:
                value = msgspec.convert(tree, model)
            except msgspec.ValidationError as error:
                if "timezone" not in str(error) or not issubclass(model, Struct):
                    raise
                # Times without a zone are right, and UTC; whoever sends one sends all of them so.
                seen = _zoner(model)(tree)
                value = msgspec.convert(seen, model)
        except DECODE_ERRORS:
            pass
        else:
            if not issubclass(model, Struct) or _checker(model)(seen):
                return Document(kind=kind, version=version, tree=tree, value=value)
    return _mended(kind, version, tree, model, partial)


def parse(data: bytes | str) -> Any:
    """JSON with the digits of its numbers: int or Decimal, never float.

    Raises:
        MalformedError: it is no JSON, is nested too deep, or has numbers beyond reason.
    """
    try:
        return _DECODER.decode(data)
    except RecursionError:
        raise MalformedError("The JSON is nested too deep") from None
    except DECODE_ERRORS as error:
        raise MalformedError(str(error)[:255]) from None


def encode_tree(tree: Any) -> bytes:
    """JSON text of a tree: Decimals as numbers with their digits."""
    return _ENCODER.encode(tree)


def tree_of(value: Any) -> Any:
    """The tree of a struct that was made here: absent fields left out, times in UTC with at most milliseconds."""
    if isinstance(value, Struct):
        tree = {}
        for name in value.__struct_fields__:
            item = getattr(value, name)
            if item is not None and item != ():
                tree[name] = tree_of(item)
            elif item == () and fields_of(type(value))[name].required:
                tree[name] = []
        return tree
    if isinstance(value, (tuple, list)):
        return [tree_of(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if hasattr(value, "astimezone"):
        return written(value)
    return value


def document_of(kind: Kind, value: Any, version: Version = Version.V2_3_0) -> Document:
    """The document of a struct (or enumeration's member) that was made here."""
    return Document(kind=kind, version=version, tree=tree_of(value), value=value)


def problems(kind: Kind, version: Version, tree: Any, *, partial: bool = False) -> tuple[tuple[str, str], ...]:
    """What in a tree that we are about to send breaks the version: nothing is repaired or let pass here.

    Returns:
        (JSON pointer, sentence) per wrong field; empty where it is right.
    """
    model = model_of(kind, version)
    walk = Walk(lambda _choices, _value: False)
    if issubclass(model, Struct):
        walk.object(tree, model, "", partial=partial)
    else:
        walk.choice(tree, model, "")
    return (*walk.errors, *((repair.pointer, repair.mend.value) for repair in walk.repairs))


def _mended(kind: Kind, version: Version, tree: Any, model: Model, partial: bool) -> Document:
    walk = Walk(_ELSEWHERE[version])
    try:
        if issubclass(model, Struct):
            mended, value = walk.object(tree, model, "", partial=partial)
        else:
            mended, value = walk.choice(tree, model, "")
    except RecursionError:
        raise MalformedError("The JSON is nested too deep") from None
    if walk.errors:
        raise DocumentError(kind, version, tuple(walk.errors[:MAX_PROBLEMS]))
    return Document(kind=kind, version=version, tree=mended, value=value, partial=partial, repairs=tuple(walk.repairs))


def _unknown(tree: Any, shape: type[Struct], at: str) -> list[str]:
    found = []
    known = fields_of(shape)
    for name, sent in tree.items():
        field = known.get(name)
        if field is None:
            found.append(f"{at}/{name}")
        elif field.shape is not None:
            for place, item in enumerate(sent) if isinstance(sent, list) else ((None, sent),):
                if isinstance(item, dict):
                    where = f"{at}/{name}" if place is None else f"{at}/{name}/{place}"
                    found += _unknown(item, field.shape, where)
    return found


# What msgspec lets pass in silence and the walk would mend: null for an optional field, text for a Decimal, text with
# U+0000. Checkers made per struct look at the fields where that can be, so that a body without such pays little.


@functools.cache
def _checker(shape: type[Struct]) -> Callable[[dict[str, Any]], bool]:
    numbers = frozenset(
        field.name for field in fields_of(shape).values() if field.base is Base.NUMBER and not field.many
    )
    times = frozenset(field.name for field in fields_of(shape).values() if field.base is Base.TIME and not field.many)
    inner = {
        field.name: (field.many, _checker(field.shape))
        for field in fields_of(shape).values()
        if field.shape is not None and field.shape is not shape
    }

    def plain(tree: dict[str, Any]) -> bool:
        for name, sent in tree.items():
            if sent.__class__ is str:
                if name in numbers or "\x00" in sent or (name in times and not _in_utc(sent)):
                    return False
            elif sent is None:
                return False
            elif name in inner:
                many, check = inner[name]
                if many:
                    for item in sent:
                        if not check(item):
                            return False
                elif not check(sent):
                    return False
        return True

    return plain


@functools.cache
def _zoner(shape: type[Struct]) -> Callable[[Any], Any]:
    """Gives times without a zone their Z, in a copy that only the struct is made of."""
    times = [field.name for field in fields_of(shape).values() if field.base is Base.TIME and not field.many]
    inner = [
        (field.name, _zoner(field.shape))
        for field in fields_of(shape).values()
        if field.shape is not None and field.shape is not shape
    ]

    def zoned(tree: Any) -> Any:
        if tree.__class__ is not dict:
            return tree
        copy = tree.copy()
        for name in times:
            sent = copy.get(name)
            if (
                sent.__class__ is str
                and len(sent) > 18
                and "+" not in sent
                and "-" not in sent[10:]
                and sent[-1] != "Z"
            ):
                copy[name] = sent + "Z"
        for name, zone in inner:
            held = copy.get(name)
            if held.__class__ is list:
                copy[name] = [zone(item) for item in held]
            elif held.__class__ is dict:
                copy[name] = zone(held)
        return copy

    return zoned


def _in_utc(sent: str) -> bool:
    return sent[-1] == "Z" and sent[10] == "T"


def _newer(version: Version) -> Callable[[type[StrEnum], str], bool]:
    """Whether a closed enumeration's unknown value is kept: a newer version has it, or has the enumeration open.

    Partners send values of the next version before they speak it; what is open there is nobody's to refuse.
    """

    def known(choices: type[StrEnum], value: str) -> bool:
        return choices.__name__ in _OPEN or value in _VALUES.get(choices.__name__, ())

    return known


def _enumerations(version: Version) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    values: dict[str, frozenset[str]] = {}
    opened = set()
    seen: set[Any] = set()

    def visit(shape: type[Struct]) -> None:
        if shape in seen:
            return
        seen.add(shape)
        for field in fields_of(shape).values():
            if field.choices is not None:
                values[field.choices.__name__] = frozenset(field.choices)
                if field.open:
                    opened.add(field.choices.__name__)
            if field.shape is not None:
                visit(field.shape)

    for model in MODELS[version].values():
        if issubclass(model, Struct):
            visit(model)
    return frozenset(opened), values


_OPEN, _VALUES = _enumerations(Version.V2_3_0)
_ELSEWHERE: Final = {version: _newer(version) for version in Version}
_DECODER: Final = msgspec.json.Decoder(float_hook=number)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
