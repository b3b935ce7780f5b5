"""What a password must be: long, and not one of those that are tried first (NIST SP 800-63B, 5.1.1.2)."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Final

SHORTEST: Final = 10
LONGEST: Final = 200

_ROWS: Final = "01234567890123456789 qwertyuiopasdfghjklzxcvbnm qwertzuiopasdfghjklyxcvbnm"
_COMMON: Final = (
    "password",
    "passwort",
    "losenord",
    "qwerty",
    "qwertz",
    "letmein",
    "welcome",
    "iloveyou",
    "chargeplane",
)


def normalized(password: str) -> str:
    """One form for what keyboards write in several (RFC 8265, 4.1)."""
    return unicodedata.normalize("NFKC", password)


def fault_of(password: str, *known: str | None) -> str | None:
    """What is wrong with a password, as a sentence; None where it is good enough.

    Args:
        known: what others know of the person, such as the e-mail address.
    """
    text = normalized(password)
    if len(text) < SHORTEST or len(text) > LONGEST:
        return f"Must have {SHORTEST} to {LONGEST} characters"
    if len(set(text)) < 5:
        return "Must have at least five different characters"
    folded = text.casefold()
    rest = folded
    for word in _COMMON:
        rest = rest.replace(word, "")
    for told in known:
        if told and folded in (told.casefold(), told.partition("@")[0].casefold()):
            return "Must not be the name or the e-mail address"
    if len(rest.strip("0123456789!?.-_ ")) < 3 and rest != folded:
        return "Is among the passwords that are tried first"
    steps = {ord(b) - ord(a) for a, b in itertools.pairwise(text)}
    if len(steps) == 1 or folded in _ROWS or folded[::-1] in _ROWS:
        return "Is among the passwords that are tried first"
    return None
