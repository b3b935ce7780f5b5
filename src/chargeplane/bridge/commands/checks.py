"""What the calls of all subjects check and write alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chargeplane.domain.messages import IdToken
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v201

MAX_INT: Final = 2**31 - 1
"""The largest OCPP integer."""


def invalid(sentence: str, pointer: str, what: str) -> InvalidInputError:
    """A value that does not fit: the sentence, the JSON pointer of the field, and what would fit."""
    return InvalidInputError(sentence, ((pointer, what),))


def checked(value: int, least: int, pointer: str) -> int:
    """The number, where it is from `least` to 2^31 - 1.

    Raises:
        InvalidInputError: it is not.
    """
    if not least <= value <= MAX_INT:
        name = pointer[1:]
        raise invalid(f"{name} {value} is out of range.", pointer, f"a whole number from {least} to {MAX_INT}")
    return value


def id_tag16(token: IdToken, pointer: str = "/id_token") -> str:
    """The id tag of 1.6. Cars' MAC addresses have `VID:` in front, as stations write them that have no types.

    Raises:
        InvalidInputError: it is too long.
    """
    tag = f"VID:{token.value}" if token.type == "MacAddress" else token.value
    if not 1 <= len(tag) <= 20:
        raise invalid(
            f"OCPP 1.6 takes id tags of 1 to 20 characters, this one has {len(tag)}.",
            f"{pointer}/value",
            "1 to 20 characters",
        )
    return tag


def id_token2x(v: Any, token: IdToken, pointer: str = "/id_token") -> Any:
    """Tokens without a type come from us, which is what Central means (OCPP 2.0.1 F01).

    Raises:
        InvalidInputError: its value or its type does not fit the version.
    """
    longest = 36 if v is v201 else 255
    if len(token.value) > longest:
        raise invalid(
            f"The station's OCPP version takes id tokens of at most {longest} characters.",
            f"{pointer}/value",
            f"at most {longest} characters",
        )
    kind: Any = token.type or "Central"
    if v is v201:
        kind = _TYPES_201.get(kind)
        if kind is None:
            raise invalid(
                f"OCPP 2.0.1 has no id token type '{made_storable(str(token.type), 64)}'.",
                f"{pointer}/type",
                "one of " + ", ".join(_TYPES_201),
            )
    elif len(kind) > 20:
        raise invalid("An id token type has at most 20 characters.", f"{pointer}/type", "at most 20 characters")
    additional = None
    if token.additional:
        for one in token.additional:
            if len(one.value) > longest:
                raise invalid(
                    f"The station's OCPP version takes additional id tokens of at most {longest} characters.",
                    f"{pointer}/additional",
                    f"values of at most {longest} characters",
                )
        additional = tuple(
            v.AdditionalInfoType(additional_id_token=one.value, type=one.type) for one in token.additional
        )
    return v.IdTokenType(id_token=token.value, type=kind, additional_info=additional)


_TYPES_201: Final[Mapping[str, v201.IdTokenEnumType]] = {kind.value: kind for kind in v201.IdTokenEnumType}
