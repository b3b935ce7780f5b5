"""What is mailed to people: secrets that work once, and words in their language."""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final

from msgspec import Struct

_FALLBACK: Final = "en"


class MailedPurpose(enum.StrEnum):
    """What a secret in a mail is for."""

    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105
    INVITE_USER = "invite_user"
    RESET_USER_PASSWORD = "reset_user_password"  # noqa: S105


VALID_FOR: Final = {
    MailedPurpose.VERIFY_EMAIL: timedelta(days=3),
    MailedPurpose.CHANGE_EMAIL: timedelta(days=1),
    MailedPurpose.RESET_PASSWORD: timedelta(hours=1),
    MailedPurpose.INVITE_USER: timedelta(days=7),
    MailedPurpose.RESET_USER_PASSWORD: timedelta(hours=1),
}
"""How long a secret works."""


class Notice(enum.StrEnum):
    """Mails without a secret."""

    ACCOUNT_EXISTS = "account_exists"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_ERASED = "account_erased"


class Attachment(Struct, frozen=True, kw_only=True):
    """A file on a mail.

    Args:
        name: as it is saved; ASCII.
        media_type: as `application/pdf`.
    """

    name: str
    media_type: str
    content: bytes


class Letter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A mail.

    Args:
        to: e-mail address.
        text: plain text, lines parted by line feeds.
        html: the same for who shows it so; None: there is only the text.
    """

    to: str
    subject: str
    text: str
    language: str
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()


def letter(kind: MailedPurpose | Notice, to: str, language: str | None, values: Mapping[str, str]) -> Letter:
    """A mail in the language nearest to the one asked for; English where there is none.

    Args:
        values: what the text speaks of: name, link, tenant, hours and the like.
    """
    texts = _texts()
    code = (language or "").partition("-")[0].lower()
    chosen = code if code in texts else _FALLBACK
    words = texts[chosen].get(kind.value) or texts[_FALLBACK][kind.value]
    frame = texts[chosen]["frame"]
    known = {"name": "", **values}
    greeting = frame["greeting_name"] if known["name"] else frame["greeting"]
    body = "\n\n".join(part.strip() for part in (greeting, words["text"], frame["closing"]))
    # A name must not become a line of its own, nor a header.
    safe = {key: " ".join(value.split()) for key, value in known.items()}
    return Letter(to=to, subject=words["subject"].format_map(safe), text=body.format_map(safe) + "\n", language=chosen)


@lru_cache(maxsize=1)
def _texts() -> dict[str, dict[str, dict[str, str]]]:
    found = {}
    for file in files("chargeplane.domain.people.letters").iterdir():
        code, _, suffix = file.name.rpartition(".")
        if suffix == "toml":
            found[code] = tomllib.loads(file.read_text(encoding="utf-8"))
    return found


def mail_languages() -> tuple[str, ...]:
    """The languages that mails are written in."""
    return tuple(sorted(_texts()))
