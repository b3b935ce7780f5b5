"""Addresses with secrets in them, as they may be stored and shown."""

from __future__ import annotations

import re
from typing import Final

_HIDDEN: Final = "hidden"
_PASSWORD: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/?#@:]*):[^/?#]*@")
_ONE_TIME: Final = re.compile(r"(/uploads/)[^/?#]+")
_SIGNED: Final = re.compile(r"\?[^#]+")


def hide_secrets(url: str) -> str:
    """An address without its password, without the one-time part of an upload's address of ours, and without its query, which is where
    signed addresses of others have their signature.

    Examples:
        "ftp://u:p@host/a" gives "ftp://u:hidden@host/a".
    """
    url = _PASSWORD.sub(rf"\1:{_HIDDEN}@", url)
    return _SIGNED.sub(f"?{_HIDDEN}", _ONE_TIME.sub(rf"\1{_HIDDEN}", url))
