"""How settings of providers are read."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from chargeplane.app.payments.ports import ProviderSettings
from chargeplane.kernel.errors import InvalidInputError


def secret(settings: ProviderSettings, name: str) -> str:
    """A secret that has to be there.

    Raises:
        InvalidInputError: it is not.
    """
    value = settings.secrets.get(name)
    if not value:
        raise InvalidInputError(f"The provider needs the secret '{name}'.", ((f"/secrets/{name}", "Required"),))
    return value


def url(settings: ProviderSettings, name: str, default: str | None = None) -> str:
    """An address without a slash at its end.

    Raises:
        InvalidInputError: it is none.
    """
    value = settings.settings.get(name, default)
    if isinstance(value, str):
        try:
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
                return value.rstrip("/")
        except ValueError:
            pass
    raise InvalidInputError(
        f"The setting '{name}' must be an http or https address.", ((f"/settings/{name}", "Must be an address"),)
    )


def only(settings: ProviderSettings, names: Iterable[str], secrets: Iterable[str]) -> None:
    """Refuses what the kind does not know.

    Raises:
        InvalidInputError: there is something else.
    """
    for place, given, known in (
        ("settings", settings.settings, sorted(names)),
        ("secrets", settings.secrets, sorted(secrets)),
    ):
        for name in given:
            if name not in known:
                words = ", ".join(known) or "none"
                raise InvalidInputError(
                    f"A provider of the kind {settings.kind} has no '{name}'.",
                    ((f"/{place}/{name}", f"Known: {words}"),),
                )
