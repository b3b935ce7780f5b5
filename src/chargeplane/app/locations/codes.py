"""The QR code on an EVSE: an address with its code, as a picture."""

from __future__ import annotations

import io
from typing import Final

import segno

PATH: Final = "/pay/"
"""The page of an EVSE for guests (edges/http/routes/guests.py): this and the code."""

_BORDER: Final = 4  # modules of quiet zone that ISO/IEC 18004 asks for


class CodeAddresses:
    """Where the codes on EVSEs lead.

    Args:
        public_url: where people reach the server; None: as whoever asks reached it.
    """

    def __init__(self, public_url: str | None) -> None:
        self._public_url = None if public_url is None else public_url.rstrip("/")

    def of(self, code: str, asked_by: str) -> str:
        """The address in the QR code of an EVSE.

        Args:
            asked_by: the address by which the server was asked, without a path.
        """
        return f"{self._public_url or asked_by.rstrip('/')}{PATH}{code}"


def as_svg(address: str) -> bytes:
    """The QR code as SVG of any size; about a quarter of it may be scratched off (error correction Q)."""
    picture = io.BytesIO()
    segno.make(address, error="q", micro=False).save(picture, kind="svg", border=_BORDER, omitsize=True, nl=True)
    return picture.getvalue()


def as_png(address: str, scale: int) -> bytes:
    """The QR code as PNG.

    Args:
        scale: pixels a module.
    """
    picture = io.BytesIO()
    segno.make(address, error="q", micro=False).save(picture, kind="png", border=_BORDER, scale=scale)
    return picture.getvalue()
