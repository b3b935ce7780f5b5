"""A provider of identities (OpenID Connect) for tests: it does what the specification asks, or just not what it is told not to.

It checks what comes to it (PKCE, client, redirect address, codes that come twice), so that a sign-on that works was asked for rightly.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

Claims = dict[str, Any]


class Key:
    """A key that signs ID tokens."""

    def __init__(self, kid: str, algorithm: str = "RS256") -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private: Any = (
            rsa.generate_private_key(65537, 2048)
            if algorithm.startswith(("RS", "PS"))
            else ec.generate_private_key(ec.SECP256R1())
        )

    def jwk(self) -> dict[str, Any]:
        make = RSAAlgorithm.to_jwk if self.algorithm.startswith(("RS", "PS")) else ECAlgorithm.to_jwk
        said: dict[str, Any] = json.loads(make(self.private.public_key()))
        return {**said, "kid": self.kid, "use": "sig", "alg": self.algorithm}


class OidcProvider:
    """The provider.

    Attributes:
        person: claims of who signs in next.
        change: what becomes of an ID token's claims before it is signed.
        sign: how it is signed.
        metadata: what it says of itself otherwise.
        secret: of the client; None: the client is public.
        deny: an error that it answers in place of a code.
        requests: paths that were asked, in order.
    """

    client_id = "chargeplane"

    def __init__(self) -> None:
        self.keys = [Key("one")]
        self.fresh()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def fresh(self) -> None:
        """Behaves again."""
        self.person: Claims = {"sub": "7", "email": "anna@example.org", "email_verified": True, "name": "Anna"}
        self.change: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = self.signed
        self.metadata: dict[str, Any] = {}
        self.secret: str | None = "a secret+with:odd characters%"
        self.deny: str | None = None
        self.beside: Claims | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.refused: list[str] = []

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def signed(self, claims: Claims, key: Key | None = None, **header: Any) -> str:
        key = key or self.keys[-1]
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid, **header})

    def get(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.requests.append(parts.path)
        if parts.path == "/.well-known/openid-configuration":
            _answer(request, self._metadata())
        elif parts.path == "/keys":
            _answer(request, {"keys": [key.jwk() for key in self.keys]})
        elif parts.path == "/authorize":
            back = {"state": asked["state"], "iss": self.issuer}
            if self.deny is not None:
                back["error"] = self.deny
            else:
                back["code"] = secrets.token_urlsafe(16)
                self.codes[back["code"]] = asked
            _redirect(request, f"{asked['redirect_uri']}?{urlencode(back)}")
        elif parts.path == "/userinfo":
            right = request.headers.get("Authorization") == "Bearer the-access-token"
            _answer(request, self.beside if right else {"error": "invalid_token"}, 200 if right else 401)
        else:
            _answer(request, {}, 404)

    def post(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length", "0"))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        fault = self._fault(request, form, asked)
        if fault is not None:
            self.refused.append(fault)
            _answer(request, {"error": "invalid_grant", "error_description": fault}, 400)
            return
        assert asked is not None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce"),
            **self.person,
        }
        token = self.sign(self.change(claims))
        _answer(request, {"access_token": "the-access-token", "token_type": "Bearer", "id_token": token})

    def _fault(self, request: BaseHTTPRequestHandler, form: dict[str, str], asked: dict[str, str] | None) -> str | None:
        if asked is None:
            return "no such code, or it was used"
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return "another redirect_uri"
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked.get("code_challenge_method") != "S256":
            return "no PKCE"
        if base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != asked.get("code_challenge"):
            return "wrong code_verifier"
        if self.secret is None:
            return None if form.get("client_id") == self.client_id else "wrong client"
        if self.metadata.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            pair = (form.get("client_id"), form.get("client_secret"))
        else:
            raw = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            name, _, word = raw.partition(":")
            pair = (unquote_plus(name), unquote_plus(word))
        return None if pair == (self.client_id, self.secret) else "wrong client"

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end?from=here",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }


def _answer(request: BaseHTTPRequestHandler, body: Any, status: int = 200) -> None:
    content = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def _redirect(request: BaseHTTPRequestHandler, to: str) -> None:
    request.send_response(302)
    request.send_header("Location", to)
    request.send_header("Content-Length", "0")
    request.end_headers()


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """A running provider."""
    provider = OidcProvider()
    try:
        yield provider
    finally:
        provider.close()
