"""A pool of contract certificates by HTTP, with the interface that Open Plug&Charge pools share (VDE-AR-E 2802-100-1).

`POST {url}/v1/ccp/signedContractData` with the car's message answers the message that goes back. Access is by a bearer token, given
or fetched with client credentials.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import msgspec
from cryptography import x509
from msgspec import Struct

from chargeplane.app.reports import Place
from chargeplane.domain.contracts import EvCertificate, EvCertificateAsk
from chargeplane.kernel.errors import PeerError, RuleError

_TIMEOUT_S: Final = 15.0
_EARLIER_S: Final = 30.0


class OpenPncConfig(Struct, frozen=True, kw_only=True):
    """Where the pool is.

    Args:
        url: without `/v1`.
        token: a bearer token; or by client credentials:
        token_url, client_id, client_secret, audience: where and how a token is fetched.
    """

    url: str
    token: str | None = None
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    audience: str | None = None


class _Message(Struct, rename="camel"):
    certificate_installation_res: str
    emaid: str | None = None


class _Content(Struct, rename="camel"):
    message_def: _Message


class _Contents(Struct, rename="camel"):
    emaid_content: list[_Content]


class _Signed(Struct):
    contents: _Contents = msgspec.field(name="CCPResponse")


class _Token(Struct):
    access_token: str
    expires_in: float = 3600.0


_decode_signed = msgspec.json.Decoder(_Signed).decode
_decode_token = msgspec.json.Decoder(_Token).decode


class OpenPnc:
    """Implements `plug_and_charge.ContractProvider`."""

    name = "open_pnc"

    def __init__(self, config: OpenPncConfig) -> None:
        self._config = config
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)
        self._token = config.token
        self._token_until = float("inf") if config.token else 0.0
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Ends."""
        await self._client.aclose()

    async def roots(self) -> list[x509.Certificate]:
        """None of its own: the operator names the authorities."""
        return []

    async def ev_certificate(self, place: Place, ask: EvCertificateAsk) -> tuple[EvCertificate, str | None]:
        """The pool's message for the car.

        Raises:
            RuleError: the pool has none for this car.
            PeerError: it could not be asked.
        """
        body = {"certificateInstallationReq": ask.exi_request, "xsdMsgDefNamespace": ask.schema}
        response = await self._post(f"{self._config.url.rstrip('/')}/v1/ccp/signedContractData", body)
        if response.status_code == 401 and self._config.token is None:
            self._token_until = 0.0  # taken back before its time
            response = await self._post(f"{self._config.url.rstrip('/')}/v1/ccp/signedContractData", body)
        if response.status_code == 404:
            raise RuleError("The pool has no contract for this car.")
        if response.status_code != 200:
            raise PeerError(f"The pool answered {response.status_code}: {response.text[:200]}")
        try:
            contents = _decode_signed(response.content).contents.emaid_content
        except msgspec.MsgspecError as error:
            raise PeerError(f"The pool's answer cannot be understood: {error}") from None
        if not contents:
            raise RuleError("The pool has no contract for this car.")
        message = contents[0].message_def
        remaining = None if ask.maximum_chains is None else len(contents) - 1
        return EvCertificate(exi_response=message.certificate_installation_res, remaining=remaining), message.emaid

    async def _post(self, url: str, body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {await self._bearer()}", "Content-Type": "application/json"}
        return await self._ask(url, content=msgspec.json.encode(body), headers=headers)

    async def _bearer(self) -> str:
        config = self._config
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._token is not None and now < self._token_until:
                return self._token
            if config.token_url is None:
                raise PeerError("The pool needs a token or a place to fetch one; see open_pnc in the configuration.")
            form = {"grant_type": "client_credentials", "client_id": config.client_id or ""}
            form["client_secret"] = config.client_secret or ""
            if config.audience is not None:
                form["audience"] = config.audience
            response = await self._ask(config.token_url, data=form)
            if response.status_code != 200:
                raise PeerError(f"No token for the pool: {response.status_code} {response.text[:200]}")
            try:
                token = _decode_token(response.content)
            except msgspec.MsgspecError as error:
                raise PeerError(f"No token for the pool: {error}") from None
            self._token = token.access_token
            self._token_until = now + max(token.expires_in - _EARLIER_S, 1.0)
            return token.access_token

    async def _ask(self, url: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._client.post(url, **arguments)
        except httpx.HTTPError as error:
            raise PeerError(f"The pool cannot be reached: {str(error) or type(error).__name__}.") from None
