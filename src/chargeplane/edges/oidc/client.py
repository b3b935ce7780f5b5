"""Providers of identities, asked over HTTP: discovery, keys, the exchange of a code, what is known of a person beside the ID token.

Whoever administers a tenant names the addresses, so they are asked through the guarded client alone. What a provider says of itself, and its
keys, are kept for a while; a token that names a key we do not know has the keys fetched again, but not again and again.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from msgspec import Struct

from chargeplane.app.people.sign_on import Ask, Client, Proof, SignedOut, UntrustedError
from chargeplane.domain.people.sign_on import Identity, identity_of
from chargeplane.edges.oidc.tokens import (
    ALGORITHMS,
    Jwk,
    UnknownKeyError,
    check_id_token,
    check_logout_token,
    usable_keys,
)
from chargeplane.kernel.errors import PeerError

_KEPT_S: Final = 3600.0
_REFETCH_S: Final = 30.0
_MOST_BYTES: Final = 512 * 1024
_MOST_PROVIDERS: Final = 1_000
_FORM: Final = "application/x-www-form-urlencoded"


_Checked = TypeVar("_Checked")


class Answered(Protocol):
    """An answer over HTTP."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def body(self) -> bytes:
        """As it came."""
        ...


class Http(Protocol):
    """The guarded client."""

    async def get(self, url: str, *, limit: int, headers: dict[str, str] | None = None) -> bytes:
        """A body of at most `limit` bytes.

        Raises:
            PeerError: there was none.
        """
        ...

    async def deliver(self, url: str, body: bytes, headers: dict[str, str], *, keep: int) -> Answered:
        """The answer to a POST.

        Raises:
            PeerError: there was none.
        """
        ...


class Metadata(Struct, frozen=True, kw_only=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0, 3), as far as we ask it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(Struct, frozen=True, kw_only=True):
    id_token: str
    access_token: str | None = None


class _Refusal(Struct, frozen=True, kw_only=True):
    error: str = ""


class _Known(Struct):
    """What is kept of a provider."""

    metadata: Metadata
    keys: list[Jwk]
    until: float
    fetched_again_at: float = float("-inf")


_metadata = msgspec.json.Decoder(Metadata).decode
_tokens = msgspec.json.Decoder(_Tokens).decode
_refusal = msgspec.json.Decoder(_Refusal).decode


class OidcProviders:
    """Implements `sign_on.IdentityProviders`.

    Args:
        plain_http: whether providers may be asked without TLS.
        clock: monotonic seconds.
    """

    def __init__(self, http: Http, *, plain_http: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._plain_http = plain_http
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = asyncio.Lock()

    async def begin(self, client: Client, ask: Ask) -> str:
        """Where the browser is to go.

        Raises:
            PeerError: the provider does not say.
        """
        known = await self._of(client.issuer)
        scopes = ["openid", *(scope for scope in client.scopes if scope != "openid")]
        query = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": ask.redirect_uri,
            "scope": " ".join(scopes),
            "state": ask.state,
            "nonce": ask.nonce,
            "code_challenge": ask.challenge,
            "code_challenge_method": "S256",
        }
        if client.max_age_s is not None:
            query["max_age"] = str(client.max_age_s)
        return _with(known.metadata.authorization_endpoint, query)

    async def came_from(self, client: Client, issuer: str | None) -> bool:
        """Whether an answer that names this issuer, or none, may be the provider's (RFC 9207)."""
        if issuer is not None:
            return issuer == client.issuer
        return not (await self._of(client.issuer)).metadata.authorization_response_iss_parameter_supported

    async def identity(self, client: Client, proof: Proof) -> Identity:
        """Who came back.

        Raises:
            PeerError: the provider does not answer, or says no.
            UntrustedError: it answers what proves nothing.
        """
        metadata = (await self._of(client.issuer)).metadata
        tokens = await self._exchange(metadata, client, proof)
        claims = await self._claims(client, proof, tokens)
        told = "email" in claims and "email_verified" in claims
        if not told and tokens.access_token is not None and metadata.userinfo_endpoint is not None:
            beside = await self._userinfo(metadata.userinfo_endpoint, tokens.access_token)
            # Core 1.0, 5.3.2: of another person it may not be used.
            if beside.get("sub") != claims["sub"]:
                raise UntrustedError("what the provider says beside the ID token is about another person.")
            claims = {**beside, **claims}
        return identity_of(claims, tokens.id_token)

    async def end_session(self, client: Client, id_token: str | None, return_to: str) -> str | None:
        """Where a browser signs out of the provider too; None where it has no such place.

        Raises:
            PeerError: the provider does not say.
        """
        place = (await self._of(client.issuer)).metadata.end_session_endpoint
        if place is None:
            return None
        query = {"client_id": client.client_id, "post_logout_redirect_uri": return_to}
        if id_token is not None:
            query["id_token_hint"] = id_token
        return _with(place, query)

    async def ended(self, client: Client, logout_token: str) -> SignedOut:
        """Of whom the provider says that they have signed out there.

        Raises:
            PeerError: the provider does not say its keys.
            UntrustedError: the token proves nothing.
        """
        return await self._with_keys(
            client,
            lambda known: check_logout_token(
                logout_token,
                client,
                known.keys,
                algorithms=known.metadata.id_token_signing_alg_values_supported,
            ),
        )

    async def _claims(self, client: Client, proof: Proof, tokens: _Tokens) -> dict[str, Any]:
        return await self._with_keys(
            client,
            lambda known: check_id_token(
                tokens.id_token,
                client,
                proof.nonce,
                known.keys,
                algorithms=known.metadata.id_token_signing_alg_values_supported,
                access_token=tokens.access_token,
            ),
        )

    async def _with_keys(self, client: Client, check: Callable[[_Known], _Checked]) -> _Checked:
        """A check by the provider's keys; again where it may have made new ones."""
        known = await self._of(client.issuer)
        try:
            return check(known)
        except UnknownKeyError:
            if not await self._fetch_keys_again(client.issuer):
                raise
        return check(await self._of(client.issuer))

    async def _exchange(self, metadata: Metadata, client: Client, proof: Proof) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": proof.code,
            "redirect_uri": proof.redirect_uri,
            "code_verifier": proof.verifier,
        }
        headers = {"Content-Type": _FORM, "Accept": "application/json"}
        methods = metadata.token_endpoint_auth_methods_supported
        if client.secret is None:
            form["client_id"] = client.client_id
        elif "client_secret_basic" in methods or "client_secret_post" not in methods:
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client.client_id, "client_secret": client.secret}
        answer = await self._http.deliver(metadata.token_endpoint, urlencode(form).encode(), headers, keep=_MOST_BYTES)
        if answer.status != 200:
            raise PeerError(f"the provider gives no token: {answer.status} {_error_of(answer.body)}")
        try:
            return _tokens(answer.body)
        except msgspec.DecodeError:
            raise UntrustedError("the provider's answer holds no ID token.") from None

    async def _userinfo(self, url: str, access_token: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        return _object(await self._http.get(url, limit=_MOST_BYTES, headers=headers), url)

    async def _of(self, issuer: str) -> _Known:
        """What is known of a provider, fetched where it is not, or too old."""
        async with self._lock:
            known = self._known.get(issuer)
        if known is None or known.until < self._clock():
            metadata = await self._discover(issuer)
            known = _Known(metadata=metadata, keys=await self._keys(metadata), until=self._clock() + _KEPT_S)
            self._keep(issuer, known)
        return known

    async def _discover(self, issuer: str) -> Metadata:
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = _metadata(await self._http.get(url, limit=_MOST_BYTES))
        except msgspec.DecodeError:
            raise PeerError(f"{url} says nothing that a provider says of itself.") from None
        # Discovery 1.0, 4.3: exactly the issuer that was asked.
        if found.issuer != issuer:
            raise PeerError(f"{url} is about another issuer, '{found.issuer[:200]}'.")
        for place in (
            found.authorization_endpoint,
            found.token_endpoint,
            found.jwks_uri,
            found.userinfo_endpoint,
            found.end_session_endpoint,
        ):
            if place is not None and urlsplit(place).scheme not in (
                ("https", "http") if self._plain_http else ("https",)
            ):
                raise PeerError(f"{url} names an address without TLS.")
        if not any(one in ALGORITHMS for one in found.id_token_signing_alg_values_supported):
            raise PeerError(f"{url} names no signature that counts.")
        return found

    async def _keys(self, metadata: Metadata) -> list[Jwk]:
        return usable_keys(_object(await self._http.get(metadata.jwks_uri, limit=_MOST_BYTES), metadata.jwks_uri))

    async def _fetch_keys_again(self, issuer: str) -> bool:
        """Fetches a provider's keys, for it may have made new ones; whether it was done now."""
        known = self._known.get(issuer)
        now = self._clock()
        if known is None or now - known.fetched_again_at < _REFETCH_S:
            return False
        known.fetched_again_at = now
        known.keys = await self._keys(known.metadata)
        return True

    def _keep(self, issuer: str, known: _Known) -> None:
        self._known[issuer] = known
        if len(self._known) > _MOST_PROVIDERS:
            self._known.popitem(last=False)


def _with(place: str, query: Mapping[str, str]) -> str:
    return f"{place}{'&' if urlsplit(place).query else '?'}{urlencode(query)}"


def _object(body: bytes, url: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PeerError(f"{url[:200]} answered no JSON object.")
    return found


def _error_of(body: bytes) -> str:
    try:
        said = _refusal(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return "".join(c for c in said if c.isprintable())[:100]
