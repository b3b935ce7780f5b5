"""What a partner sees of ours."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.tariffs.model import OcpiId

_Parties = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[A-Z]{2}\*[A-Z0-9]{3}$", description="Such as `DE*ABC`.")], ...],
    Meta(max_length=200),
]
Tag = Annotated[str, Meta(min_length=1, max_length=50)]
Module = Annotated[str, Meta(pattern=r"^[a-z]{1,50}$")]


class Publication(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which locations, and what else, a partner is shown; what is empty does not restrict.

    Args:
        modules: of OCPI that are told of; empty: all.
        location_ids: these alone.
        except_location_ids: not these.
        countries: of locations, ISO 3166-1 alpha-3.
        parties: operators under whom locations and tariffs are told.
        tags: a location must have one of them.
        unpublished: also locations that are not to be published and name no tokens they are for.
    """

    modules: Annotated[tuple[Module, ...], Meta(max_length=20)] = ()
    location_ids: Annotated[tuple[OcpiId, ...], Meta(max_length=10_000)] = ()
    except_location_ids: Annotated[tuple[OcpiId, ...], Meta(max_length=10_000)] = ()
    countries: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Z]{3}$")], ...], Meta(max_length=250)] = ()
    parties: _Parties = ()
    tags: Annotated[tuple[Tag, ...], Meta(max_length=100)] = ()
    unpublished: bool = False

    def tells(self, module: str) -> bool:
        """Whether the partner is told of a module."""
        return not self.modules or module in self.modules


EVERYTHING: Final = Publication()
"""What a partner sees that nobody said anything of."""

_decode = msgspec.json.Decoder(Publication).decode
_encode: Final = msgspec.json.Encoder().encode


def publication_of(text: str | None) -> Publication:
    """From the store."""
    return EVERYTHING if text is None else _decode(text)


def publication_text(value: Publication) -> str:
    """As stored."""
    return _encode(value).decode()
