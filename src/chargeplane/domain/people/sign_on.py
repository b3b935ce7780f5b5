"""Sign-on of users by a provider of identities (OpenID Connect Core 1.0): what a tenant says of a provider, and what follows from what a
provider says of a person.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.people.drivers import check_email
from chargeplane.domain.people.roles import Role

Scope = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[!#-\\[\\]-~]+$")]
ClaimPath = Annotated[str, Meta(min_length=1, max_length=200)]

_PATH: Final = re.compile(r"/(?![/\\])[!-~]{0,499}")


class RoleRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who has a value in the claim of roles has the role.

    Args:
        value: of the claim, exactly.
    """

    value: Annotated[str, Meta(min_length=1, max_length=255)]
    role: Role


class ProviderContent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a provider is used.

    Args:
        title: what the sign-in page calls it.
        scopes: asked for; `openid` always is.
        role_claim: where the ID token says what a person may do: a name, or names joined by dots (`realm_access.roles`). None: roles are given
            here alone.
        roles: the first rule that fits counts.
        default_role: where no rule fits; None: then nobody comes in.
        create_users: whether who is not a user yet becomes one at the first sign-on.
        clock_skew_s: how far the provider's clock may be from ours.
        max_age_s: how long ago a person may have proved who they are at the provider; None leaves that to the provider.
    """

    title: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^\\x00-\\x1f\\x7f]+$")]
    scopes: Annotated[tuple[Scope, ...], Meta(max_length=20)] = ("openid", "email", "profile")
    role_claim: ClaimPath | None = None
    roles: Annotated[tuple[RoleRule, ...], Meta(max_length=100)] = ()
    default_role: Role | None = None
    create_users: bool = False
    clock_skew_s: Annotated[int, Meta(ge=0, le=300)] = 60
    max_age_s: Annotated[int, Meta(ge=0, le=31_536_000)] | None = None


class SignOnFault(enum.StrEnum):
    """Why a sign-on did not work, as its page tells."""

    DENIED = "denied"
    """The person, or the provider, said no."""
    NOT_BEGUN = "not_begun"
    """Nobody began it here, or another browser did, or too long ago, or it was used already."""
    BAD_ANSWER = "bad_answer"
    """What the provider answered does not prove anything."""
    UNREACHABLE = "unreachable"
    """The provider does not answer."""
    NO_EMAIL = "no_email"
    """The provider does not vouch for an e-mail address, and the identity is not known."""
    UNKNOWN_USER = "unknown_user"
    """Nobody here has the e-mail address, and the provider makes no users."""
    NO_ROLE = "no_role"
    """No rule gives the person a role."""


class Identity(Struct, frozen=True, kw_only=True):
    """Who somebody is, as a provider proved it.

    Args:
        email_verified: the provider says that the address is theirs; where it does not say so, it is not.
        claims: all that the ID token, and what was asked beside it, said.
        id_token: as it came, for the provider when its user signs out.
    """

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None
    language: str | None
    claims: Mapping[str, Any]
    id_token: str


def faults_of(issuer: str, content: ProviderContent, *, plain_http: bool) -> list[tuple[str, str]]:
    """What is wrong with a provider, by JSON pointer; empty where nothing is.

    Args:
        plain_http: whether it may be asked without TLS.
    """
    faults = []
    parts = urlsplit(issuer)
    schemes = ("https", "http") if plain_http else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
        # OpenID Connect Discovery 1.0, 3: a URL with the https scheme and no query or fragment.
        faults.append(("/issuer", "Must be an https address without user, query and fragment"))
    if content.roles and content.role_claim is None:
        faults.append(("/role_claim", "Is needed where there are rules about roles"))
    if content.role_claim is not None and not all(content.role_claim.split(".")):
        faults.append(("/role_claim", "Must be a name, or names joined by dots"))
    return faults


def claim_values(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The words that a claim holds: of a list its words, of a word itself.

    Args:
        path: a claim's name as it stands, else names joined by dots.
    """
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    if isinstance(found, Sequence):
        return tuple(one for one in found if isinstance(one, str))
    return ()


def role_of(content: ProviderContent, claims: Mapping[str, Any]) -> Role | None:
    """The role that a provider's rules give a person; None where they give none."""
    values = frozenset(() if content.role_claim is None else claim_values(claims, content.role_claim))
    return next((rule.role for rule in content.roles if rule.value in values), content.default_role)


def identity_of(claims: Mapping[str, Any], id_token: str) -> Identity:
    """Who the claims of a checked ID token, or of what was asked beside it, are about."""
    email = claims.get("email")
    if not isinstance(email, str) or check_email(email) is not None:
        email = None
    locale = claims.get("locale")
    language = locale.replace("_", "-") if isinstance(locale, str) else ""
    verified = claims.get("email_verified")
    return Identity(
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        email=email,
        # Core 1.0, 5.1 has a boolean; some providers send the word.
        email_verified=verified is True or verified == "true",
        name=_name(claims),
        language=language if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language) else None,
        claims=claims,
        id_token=id_token,
    )


def return_path(asked: str | None, otherwise: str) -> str:
    """Where a browser goes afterwards: only to a path of this server, whatever was asked."""
    return asked if asked is not None and _PATH.fullmatch(asked) else otherwise


def _name(claims: Mapping[str, Any]) -> str | None:
    for key in ("name", "preferred_username"):
        found = claims.get(key)
        if isinstance(found, str):
            clean = "".join(c for c in found if c.isprintable()).strip()[:100]
            if clean:
                return clean
    return None


_content = msgspec.json.Decoder(ProviderContent).decode


def content_of(text: str) -> ProviderContent:
    """A provider's content as stored."""
    return _content(text)


def content_text(content: ProviderContent) -> str:
    """A provider's content, to be stored."""
    return msgspec.json.encode(content).decode()
