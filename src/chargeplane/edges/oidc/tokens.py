"""ID tokens (OpenID Connect Core 1.0, 3.1.3.7): signed by the provider, for us, now, for this attempt."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any, Final

import jwt
from jwt import PyJWK

from chargeplane.app.people.sign_on import Client, SignedOut, UntrustedError

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the provider has. None by a secret that we have too (HS256), and never `none`."""

Jwk = dict[str, Any]
"""A key as a provider publishes it (RFC 7517)."""

_MOST_BYTES: Final = 64 * 1024
_DIGESTS: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
_NEEDED: Final = ("iss", "sub", "aud", "exp", "iat")
_NEEDED_TO_END: Final = ("iss", "aud", "exp", "iat", "jti", "events")
_ENDED: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_TYPES: Final = frozenset({"logout+jwt", "application/logout+jwt", "jwt"})
_LONGEST: Final = 255


class UnknownKeyError(UntrustedError):
    """No key of the provider is named as the token names its own: it may have been made since the keys were fetched."""


def check_id_token(
    token: str,
    client: Client,
    nonce: str,
    keys: Sequence[Jwk],
    *,
    algorithms: Collection[str],
    access_token: str | None = None,
) -> dict[str, Any]:
    """The claims of an ID token that proves who somebody is.

    Args:
        keys: the provider's.
        algorithms: those that the provider says it signs with.
        access_token: that came with it; it must be the one that the ID token was made with, where that says so.
    Raises:
        UnknownKeyError: none of the keys is the one it names.
        UntrustedError: it proves nothing; the sentence says why.
    """
    header, claims = _checked(token, client, keys, algorithms, _NEEDED)
    algorithm = str(header["alg"])
    _check_parties(claims, client)
    if not _is_name(claims["sub"]):
        raise UntrustedError("the ID token names nobody.")
    given = claims.get("nonce")
    if not isinstance(given, str) or not compare_digest(given.encode(), nonce.encode()):
        raise UntrustedError("the ID token was made for another attempt (nonce).")
    if client.max_age_s is not None:
        _check_age(claims, client)
    half = claims.get("at_hash")
    if half is not None and access_token is not None and half != _half_of(access_token, algorithm):
        raise UntrustedError("the ID token was made with another access token (at_hash).")
    return claims


def check_logout_token(token: str, client: Client, keys: Sequence[Jwk], *, algorithms: Collection[str]) -> SignedOut:
    """Of whom a provider says that they have signed out (OpenID Connect Back-Channel Logout 1.0, 2.6).

    Raises:
        UnknownKeyError: none of the keys is the one it names.
        UntrustedError: it proves nothing; the sentence says why.
    """
    header, claims = _checked(token, client, keys, algorithms, _NEEDED_TO_END)
    if str(header.get("typ", "jwt")).lower() not in _LOGOUT_TYPES:
        raise UntrustedError("the token is not made to sign out by (typ).")
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(_ENDED), dict):
        raise UntrustedError("the token does not say that anybody signed out (events).")
    if "nonce" in claims:
        raise UntrustedError("the token is an ID token (nonce).")
    subject, sid = claims.get("sub"), claims.get("sid")
    if (subject is None and sid is None) or not all(_is_name(one) for one in (subject, sid) if one is not None):
        raise UntrustedError("the token names nobody.")
    return SignedOut(subject=subject, sid=sid, at=datetime.fromtimestamp(max(0, int(claims["iat"])), UTC))


def _checked(
    token: str, client: Client, keys: Sequence[Jwk], algorithms: Collection[str], needed: Sequence[str]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Header and claims of a token that is signed by the provider, for us, now."""
    if len(token) > _MOST_BYTES:
        raise UntrustedError("the token is longer than any.")
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        allowed = [one for one in ALGORITHMS if one in algorithms]
        if algorithm not in allowed:
            raise UntrustedError(f"the token is signed with '{str(algorithm)[:40]}', which counts for nothing.")
        claims: dict[str, Any] = jwt.decode(
            token,
            _key_of(header, keys),
            algorithms=[algorithm],
            audience=client.client_id,
            issuer=client.issuer,
            leeway=client.clock_skew_s,
            options={"require": list(needed)},
        )
    except jwt.PyJWTError as error:
        raise UntrustedError(f"the token does not hold: {str(error)[:200]}.") from None
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise UntrustedError("the token is none.") from None
    return header, claims


def _is_name(value: object) -> bool:
    """Core 1.0, 2: at most 255 ASCII characters."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isascii() and value.isprintable()


def usable_keys(document: Any) -> list[Jwk]:
    """The keys of a JWK set (RFC 7517) that can check signatures; those we cannot read are left out."""
    found: list[Jwk] = []
    listed = document.get("keys") if isinstance(document, Mapping) else None
    for one in (listed if isinstance(listed, list) else [])[:100]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") == "oct":
            continue
        try:
            PyJWK(one)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        found.append(one)
    return found


def _key_of(header: Mapping[str, Any], keys: Sequence[Jwk]) -> PyJWK:
    named = header.get("kid")
    algorithm = str(header["alg"])
    fitting = [key for key in keys if key["kty"] == _type_of(algorithm) and key.get("alg", algorithm) == algorithm]
    if named is not None:
        fitting = [key for key in fitting if key.get("kid") == named]
    if len(fitting) != 1:
        # Core 1.0, 10.1: without a kid there must be one key alone.
        raise UnknownKeyError("no key of the provider is the one that the ID token is signed with.")
    return PyJWK(fitting[0], algorithm=algorithm)


def _type_of(algorithm: str) -> str:
    return {"RS": "RSA", "PS": "RSA", "ES": "EC"}.get(algorithm[:2], "OKP")


def _check_parties(claims: Mapping[str, Any], client: Client) -> None:
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise UntrustedError("the ID token is for several, and does not say for whom it was made (azp).")
    if party is not None and party != client.client_id:
        raise UntrustedError("the ID token was made for another (azp).")


def _check_age(claims: Mapping[str, Any], client: Client) -> None:
    at = claims.get("auth_time")
    if not isinstance(at, int | float) or isinstance(at, bool):
        raise UntrustedError("the ID token does not say when its person proved who they are (auth_time).")
    assert client.max_age_s is not None
    if claims["iat"] - at > client.max_age_s + client.clock_skew_s:
        raise UntrustedError("the person proved who they are too long ago (auth_time).")


def _half_of(access_token: str, algorithm: str) -> str:
    """`at_hash` (Core 1.0, 3.1.3.6)."""
    digest = _DIGESTS.get(algorithm[2:], hashlib.sha512)(access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
