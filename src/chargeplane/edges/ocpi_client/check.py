"""The conformance check: asks any platform what a partner would ask it, and judges the answers. Changes nothing there.

Each check has a name, the chapter it rests on, and a verdict: passed, failed with a sentence, or not tried and why. What is checked is what
implementations most often get wrong.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

from chargeplane.edges.ocpi_client.http import FailedError, PartnerHttp, Response
from chargeplane.kernel.errors import PeerError
from chargeplane.ocpi import envelope, headers, paging
from chargeplane.ocpi.documents import decode
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.status import is_success
from chargeplane.ocpi.table import TABLE, Endpoint, Interface
from chargeplane.ocpi.versions import Version

_FROM: Final = "2000-01-01T00:00:00Z"
_FUTURE: Final = "2199-01-01T00:00:00Z"
_NOBODY: Final = "chargeplane-check-nobody"


class Verdict(enum.StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(Struct, frozen=True, kw_only=True):
    """One check.

    Args:
        source: the chapter it rests on.
        sentence: what is wrong, or why it was not tried.
    """

    version: str | None
    name: str
    source: str
    verdict: Verdict
    sentence: str | None = None


class _WrongError(Exception):
    """The answer is not as it should be."""


class _SkippedError(Exception):
    """It could not be tried."""


class Checker:
    """Checks one platform.

    Args:
        versions_url, token: as the platform gave them; a token of a registered partner opens more than an invitation.
        version: only this one.
    """

    def __init__(
        self,
        http: PartnerHttp,
        versions_url: str,
        token: str,
        *,
        form: headers.TokenForm | None = None,
        version: Version | None = None,
        on_finding: Callable[[Finding], None] = lambda _: None,
    ) -> None:
        self._http = http
        self._url = versions_url
        self._token = token
        self._form = form or headers.TokenForm.BASE64
        self._fixed = form is not None
        self._only = version
        self._on_finding = on_finding
        self.findings: list[Finding] = []

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(finding.verdict is Verdict.FAILED for finding in self.findings)

    async def run(self) -> list[Finding]:
        """All checks, in order."""
        found = await self._check(None, "versions are listed", "versions", self._versions)
        await self._check(None, "an unknown token is refused with 401", "transport: authorization", self._unknown_token)
        await self._check(None, "a missing token is refused with 401", "transport: authorization", self._no_token)
        await self._check(None, "a slash at the end is no redirect", "transport", self._slash)
        for version in Version:
            if self._only not in (None, version):
                continue
            url = (found or {}).get(version.value)
            if url is None:
                if self._only is version:
                    self._note(version, "version is offered", "versions", Verdict.FAILED, "It is not in the list.")
                continue
            await self._of_version(version, url)
        return self.findings

    async def _of_version(self, version: Version, url: str) -> None:
        async def details() -> list[tuple[str, str, str]]:
            return await self._details(version, url)

        endpoints = await self._check(version, "modules are listed", "version details", details) or []
        credentials = next((where for name, _, where in endpoints if name == "credentials"), None)

        async def own() -> None:
            data = self._data(await self._get(self._need(credentials)))
            self._decoded(Kind.CREDENTIALS, version, data)

        async def broken() -> None:
            response = await self._ask("POST", self._need(credentials), b'{"token": ')
            self._status(response, 400, "Broken JSON")

        await self._check(version, "credentials are a Credentials object", "credentials GET", own)
        await self._check(version, "broken JSON is answered with 400", "status codes", broken)
        if version is not Version.V2_1_1:

            async def ids() -> None:
                mine = str(uuid.uuid4()), str(uuid.uuid4())
                response = await self._ask(
                    "GET", url, None, {headers.REQUEST_ID: mine[0], headers.CORRELATION_ID: mine[1]}
                )
                for name, value in zip((headers.REQUEST_ID, headers.CORRELATION_ID), mine, strict=True):
                    if response.headers.get(name.lower()) != value:
                        raise _WrongError(f"{name} did not come back.")

            await self._check(version, "request and correlation ids come back", "transport: unique message ids", ids)
        for name, side, where in endpoints:
            await self._of_module(version, name, side, where)

    async def _of_module(self, version: Version, name: str, side: str, where: str) -> None:
        rows = [row for row in TABLE.values() if row.module.value == name and row.is_in(version) and not row.path]
        lists = [row for row in rows if row.is_list and side in ("", Interface.SENDER)]
        for row in lists:
            await self._of_list(version, row, where, certain=side != "")
        owned = next(
            (
                row
                for row in TABLE.values()
                if row.module.value == name and row.owned and row.method == "GET" and row.is_in(version)
            ),
            None,
        )
        if owned is not None and side == Interface.RECEIVER:
            await self._of_receiver(version, owned, where)

    async def _of_list(self, version: Version, row: Endpoint, where: str, *, certain: bool) -> None:
        name, source = row.module.value, f"mod_{row.module.value}; transport: pagination"
        first = await self._check(
            version, f"{name}: the list is answered", source, lambda: self._page(where, limit=1, certain=certain)
        )
        if first is None:
            return

        async def counted() -> None:
            for header in (headers.TOTAL_COUNT, headers.LIMIT):
                value = first.headers.get(header.lower(), "")
                if not value.isdecimal():
                    raise _WrongError(f"{header} is '{value}', not a number.")

        async def linked() -> None:
            total = int(first.headers.get(headers.TOTAL_COUNT.lower(), "0") or 0)
            response = await self._page(where, limit=1, date_from=_FROM)
            following = paging.read_link(response.headers.get("link"))
            given = len(self._items(response))
            if following is None:
                if total > given:
                    raise _WrongError(f"There are {total} objects and no link behind the first {given}.")
                return
            if total <= given:
                raise _WrongError("The last page has a link to a next one.")
            kept = dict(parse_qsl(urlsplit(following).query))
            if "date_from" not in kept:
                raise _WrongError("The link to the next page lost date_from.")
            if self._items(await self._get(following)) == self._items(response):
                raise _WrongError("The next page is the first one again.")

        async def capped() -> None:
            limit = first.headers.get(headers.LIMIT.lower(), "")
            if not limit.isdecimal():
                raise _SkippedError("X-Limit is unknown.")
            response = await self._page(where, limit=int(limit) + 1_000_000)
            if len(self._items(response)) > int(limit):
                raise _WrongError(f"More than X-Limit ({limit}) objects came.")

        async def filtered() -> None:
            response = await self._page(where, limit=1, date_from=_FUTURE)
            if self._items(response) or response.headers.get(headers.TOTAL_COUNT.lower(), "0") not in ("0", ""):
                raise _WrongError("Objects of the future came: date_from is not heeded.")

        async def fitting() -> None:
            assert row.answer is not None
            response = await self._page(where, limit=20)
            items = self._items(response)
            if not items:
                raise _SkippedError("The list is empty.")
            for item in items:
                self._decoded(row.answer, version, item)

        async def bad() -> None:
            response = await self._get(paging.with_query(where, {"date_from": "yesterday"}))
            self._no_422(response)
            if is_success(self._envelope(response).status_code):
                raise _WrongError("A date_from that is none was taken.")

        await self._check(version, f"{name}: X-Total-Count and X-Limit", source, counted)
        await self._check(version, f"{name}: Link to the next page, with filters", source, linked)
        await self._check(version, f"{name}: large limits are capped", source, capped)
        await self._check(version, f"{name}: date_from is heeded", source, filtered)
        await self._check(version, f"{name}: objects fit the version", source, fitting)
        await self._check(version, f"{name}: bad parameters get the envelope", source, bad)

    async def _of_receiver(self, version: Version, row: Endpoint, where: str) -> None:
        path = "/".join(
            "ZZ" if name == "country_code" else "ZZZ" if name == "party_id" else _NOBODY for name in row.names
        )
        name = row.module.value

        async def missing() -> None:
            response = await self._get(f"{where.rstrip('/')}/{path}")
            self._no_422(response)
            if response.status not in (200, 404):
                raise _WrongError(f"An object that is not there was answered with {response.status}.")
            if is_success(self._envelope(response).status_code) and envelope.data_of(self._envelope(response)) not in (
                None,
                b"[]",
            ):
                raise _WrongError("An object came that is not there.")

        await self._check(version, f"{name}: an unknown object gets the envelope", "status codes", missing)

    # -- single checks -------------------------------------------------------------------------------------------------

    async def _versions(self) -> dict[str, str]:
        response = await self._get(self._url)
        if response.status == 401 and not self._fixed:
            # Many do not decode the token (OCPI 2.3.0, Authorization header, note).
            self._form = headers.TokenForm.RAW
            response = await self._get(self._url)
        data = self._data(response)
        try:
            found = msgspec.json.decode(data, type=list[dict[str, Any]])
            return {str(item["version"]): str(item["url"]) for item in found}
        except (msgspec.MsgspecError, KeyError) as error:
            raise _WrongError(f"The data is no list of versions: {error}") from None

    async def _details(self, version: Version, url: str) -> list[tuple[str, str, str]]:
        data = self._data(await self._get(url))
        document = self._decoded(Kind.VERSION_DETAILS, version, data)
        found = [
            (str(item["identifier"]), str(item.get("role", "")), str(item["url"])) for item in document["endpoints"]
        ]
        if document["version"] != version.value:
            raise _WrongError(f"The details say version {document['version']}.")
        if not any(name == "credentials" for name, _, _ in found):
            raise _WrongError("There is no credentials endpoint.")
        sides = [(name, where.rstrip("/")) for name, side, where in found if side and name != "credentials"]
        if len(set(sides)) != len(sides):
            raise _WrongError("Sender and receiver of a module have the same URL.")
        return found

    async def _unknown_token(self) -> None:
        given = {"Authorization": headers.write_authorization(_NOBODY, self._form)}
        self._status(await self._ask("GET", self._url, None, given), 401, "An unknown token")

    async def _no_token(self) -> None:
        self._status(await self._ask("GET", self._url, None, {"Authorization": ""}), 401, "A missing token")

    async def _slash(self) -> None:
        other = self._url[:-1] if self._url.endswith("/") else f"{self._url}/"
        response = await self._get(other)
        if 300 <= response.status < 400:
            raise _WrongError(f"{other} redirects ({response.status}).")

    # -- asking and judging --------------------------------------------------------------------------------------------

    async def _page(self, where: str, *, certain: bool = True, **query: object) -> Response:
        response = await self._get(paging.with_query(where, {name: str(value) for name, value in query.items()}))
        if response.status == 401:
            raise _SkippedError("The token does not open it: it is an invitation, or the check must be registered.")
        if not certain and response.status in (404, 405):
            raise _SkippedError("It is the receiver's interface.")
        if response.status != 200:
            raise _WrongError(f"It was answered with {response.status}.")
        self._items(response)
        return response

    async def _get(self, url: str) -> Response:
        return await self._ask("GET", url)

    async def _ask(
        self, method: str, url: str, body: bytes | None = None, more: dict[str, str] | None = None
    ) -> Response:
        given = {
            "Authorization": headers.write_authorization(self._token, self._form),
            headers.REQUEST_ID: str(uuid.uuid4()),
            headers.CORRELATION_ID: str(uuid.uuid4()),
            **(more or {}),
        }
        if not given["Authorization"]:
            del given["Authorization"]
        try:
            return await self._http.ask("check", method, url, given, body)
        except FailedError as error:
            raise _WrongError(str(error)) from None

    def _need(self, url: str | None) -> str:
        if url is None:
            raise _SkippedError("There is no credentials endpoint.")
        return url

    def _envelope(self, response: Response) -> envelope.Envelope:
        try:
            return envelope.read(response.body)
        except PeerError as error:
            raise _WrongError(f"{response.status} without the envelope: {error}") from None

    def _data(self, response: Response) -> bytes:
        if response.status == 401:
            raise _WrongError(
                "It was answered with 401: the token is unknown there. One of an invitation that was used opens nothing any more."
            )
        if response.status != 200:
            raise _WrongError(f"It was answered with {response.status}.")
        read = self._envelope(response)
        if not is_success(read.status_code):
            raise _WrongError(f"It was answered with status {read.status_code}: {read.status_message or ''}")
        data = envelope.data_of(read)
        if data is None:
            raise _WrongError("The envelope has no data.")
        if read.timestamp is None:
            raise _WrongError("The envelope has no timestamp.")
        return data

    def _items(self, response: Response) -> list[bytes]:
        try:
            return envelope.items_of(self._envelope(response))
        except PeerError as error:
            raise _WrongError(str(error)) from None

    def _decoded(self, kind: Kind, version: Version, data: bytes) -> Any:
        try:
            document = decode(kind, version, data)
        except PeerError as error:
            raise _WrongError(str(error)[:300]) from None
        if document.repairs:
            first = document.repairs[0]
            raise _WrongError(f"{first.pointer or '/'}: {first.mend.value}"[:300])
        return document.tree

    def _status(self, response: Response, wanted: int, what: str) -> None:
        if response.status != wanted:
            raise _WrongError(f"{what} was answered with {response.status}, not {wanted}.")
        self._envelope(response)

    def _no_422(self, response: Response) -> None:
        if response.status in (403, 422):
            raise _WrongError(f"It was answered with {response.status}, which OCPI does not use.")

    async def _check(self, version: Version | None, name: str, source: str, check: Callable[[], Awaitable[Any]]) -> Any:
        try:
            found = await check()
        except _WrongError as error:
            self._note(version, name, source, Verdict.FAILED, str(error))
            return None
        except _SkippedError as error:
            self._note(version, name, source, Verdict.SKIPPED, str(error))
            return None
        self._note(version, name, source, Verdict.PASSED, None)
        return found

    def _note(self, version: Version | None, name: str, source: str, verdict: Verdict, sentence: str | None) -> None:
        finding = Finding(
            version=None if version is None else version.value,
            name=name,
            source=source,
            verdict=verdict,
            sentence=sentence,
        )
        self.findings.append(finding)
        self._on_finding(finding)
