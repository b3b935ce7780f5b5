"""Asks a platform about itself: its versions, its modules, its credentials (OCPI 2.3.0 version_information_endpoint, credentials)."""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.app.roaming.ports import Failure, HandshakeError, HandshakeTrouble
from chargeplane.bridge.ocpi_credentials import read_credentials, write_credentials
from chargeplane.domain.roaming.connection import ModuleUrl, PartyRole, PeerCredentials, TokenForm
from chargeplane.domain.roaming.roles import MODULES
from chargeplane.edges.ocpi_client.http import FailedError, PartnerHttp, Response
from chargeplane.kernel.errors import InvalidInputError, PeerError
from chargeplane.ocpi import envelope, headers
from chargeplane.ocpi.status import Status, is_success
from chargeplane.ocpi.versions import Version

_LIMIT: Final = 1024 * 1024
_MOST: Final = 200


class _Version(Struct):
    version: str
    url: str


class _Endpoint(Struct):
    identifier: str
    url: str
    role: str | None = None


class _Details(Struct):
    endpoints: list[_Endpoint]


class Handshake:
    """Implements `app.roaming.ports.Handshaking`."""

    def __init__(self, http: PartnerHttp) -> None:
        self._http = http

    async def versions(self, url: str, token: str, form: TokenForm | None) -> tuple[dict[str, str], TokenForm]:
        """Versions with the URLs of their details, and the form of the token that was taken."""
        # Base64 is what the specification asks for; who does not know it answers 401 (OCPI 2.3.0, Authorization header).
        tried = [form] if form is not None else [TokenForm.BASE64, TokenForm.RAW]
        for place, one in enumerate(tried):
            response = await self._ask("GET", url, token, one, None)
            if response.status in (401, 403) and place + 1 < len(tried):
                continue
            found = self._data(url, response, list[_Version])
            return {item.version.strip(): item.url for item in found[:_MOST]}, one
        raise AssertionError("unreachable")

    async def details(
        self, url: str, token: str, form: TokenForm, version: str, partner_role: PartyRole | None
    ) -> tuple[tuple[ModuleUrl, ...], TokenForm]:
        """Where a version's modules are, and the form of the token that was taken: a list of versions that was given for one form may be
        open to both, what lies behind it is not."""
        response = await self._ask("GET", url, token, form, None)
        if response.status == 401:
            form = TokenForm.RAW if form is TokenForm.BASE64 else TokenForm.BASE64
            response = await self._ask("GET", url, token, form, None)
        found: list[ModuleUrl] = []
        for item in self._data(url, response, _Details).endpoints[:_MOST]:
            name = item.identifier.strip().lower()
            if name == "credentials":
                found.append(ModuleUrl(name, "BOTH", item.url))
            elif version == Version.V2_1_1 or item.role is None:
                # 2.1.1 does not tell interfaces apart: the partner's role does.
                sides = [side for module, side in MODULES[partner_role or PartyRole.CPO] if module == name]
                found.extend(ModuleUrl(name, side, item.url) for side in sides)
            else:
                found.append(ModuleUrl(name, item.role.strip().upper(), item.url))
        return tuple(dict.fromkeys(found)), form

    async def send_credentials(
        self, method: str, url: str, token: str, form: TokenForm, version: str, given: PeerCredentials | None
    ) -> PeerCredentials | None:
        """POST, PUT, GET or DELETE of credentials; what the partner answers with."""
        body = None if given is None else write_credentials(given, Version(version))
        response = await self._ask(method, url, token, form, body, sends=True)
        data = self._checked(url, response, sends=True)
        if data is None:
            return None
        try:
            return read_credentials(data, Version(version))
        except PeerError as error:
            trouble = HandshakeTrouble.REFUSED
            raise HandshakeError(trouble, f"The partner's credentials: {error}", unknown=True) from None

    async def _ask(
        self, method: str, url: str, token: str, form: TokenForm, body: bytes | None, *, sends: bool = False
    ) -> Response:
        given = {
            "Authorization": headers.write_authorization(token, headers.TokenForm(form.value)),
            headers.REQUEST_ID: str(uuid.uuid4()),
            headers.CORRELATION_ID: str(uuid.uuid4()),
        }
        try:
            return await self._http.ask(("handshake", url), method, url, given, body, limit=_LIMIT)
        except FailedError as error:
            unknown = sends and error.failure in (Failure.TIMEOUT, Failure.UNREACHABLE, Failure.TOO_LARGE)
            raise HandshakeError(HandshakeTrouble.UNREACHABLE, str(error), unknown=unknown) from None

    def _checked(self, url: str, response: Response, *, sends: bool = False) -> bytes | None:
        """The data of a good answer."""
        place = url[:200]
        try:
            read = envelope.read(response.body)
        except PeerError as error:
            if sends and response.status in (200, 204) and not response.body:
                return None
            refused = 400 <= response.status < 500
            raise HandshakeError(
                HandshakeTrouble.REFUSED if refused and sends else HandshakeTrouble.UNREACHABLE,
                f"{place} answered {response.status}. {error}"[:500],
                http_status=response.status,
                unknown=sends and not refused,
            ) from None
        if response.status >= 300 or not is_success(read.status_code):
            said = f": {read.status_message[:300].rstrip('. ')}" if read.status_message else ""
            trouble = (
                _BY_STATUS.get(read.status_code, HandshakeTrouble.REFUSED) if sends else HandshakeTrouble.UNREACHABLE
            )
            raise HandshakeError(
                trouble,
                f"{place} answered {response.status}/{read.status_code}{said}.",
                http_status=response.status,
                status_code=read.status_code,
                # Where it failed on the way, it may have kept what it was given.
                unknown=sends and (response.status >= 500 or read.status_code == Status.SERVER_ERROR),
            )
        return envelope.data_of(read)

    def _data(self, url: str, response: Response, shape: Any) -> Any:
        data = self._checked(url, response)
        try:
            return msgspec.json.decode(data or b"null", type=shape)
        except (msgspec.MsgspecError, InvalidInputError, RecursionError, ValueError) as error:
            sentence = f"{url[:200]} answered what is no version information: {error}"
            raise HandshakeError(HandshakeTrouble.UNREACHABLE, sentence) from None


_BY_STATUS: Final = {
    int(Status.UNUSABLE_API): HandshakeTrouble.REFUSED,
    int(Status.UNSUPPORTED_VERSION): HandshakeTrouble.VERSION,
    int(Status.NO_MATCHING_ENDPOINTS): HandshakeTrouble.MODULES,
}
