"""A small client of the REST doors, for the command line: the standard library's HTTP, one connection a thread."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from chargeplane.kernel.errors import (
    ChargeplaneError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    RuleError,
    UnavailableError,
)

_BY_STATUS: Final[dict[int, type[ChargeplaneError]]] = {
    403: ForbiddenError,
    409: ConflictError,
    422: InvalidInputError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
_PIECE: Final = 256 * 1024
_HOW_TO_START: Final = "Start it with `chargeplane serve`, or name another address with --url or CHARGEPLANE_URL."


class MissingError(RuleError):
    """The server knows no such resource."""


class RestClient:
    """Speaks to one server.

    Args:
        url: `http://HOST:8080`.
        api_key: sent as bearer; None sends none.
        timeout_s: for connecting and for each answer.
    """

    def __init__(self, url: str, api_key: str | None, *, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInputError(f"'{url}' is no address of a server: write it like http://127.0.0.1:8080.")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", "User-Agent": "chargeplane-cli"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._local = threading.local()
        self._open: set[http.client.HTTPConnection] = set()

    def close(self) -> None:
        """Hangs up, whichever thread's connection it is; one that is needed again is made anew."""
        self._local = threading.local()
        while self._open:
            self._open.pop().close()

    def __enter__(self) -> Self:
        """Itself; hangs up at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hangs up."""
        self.close()

    def get(self, path: str, **query: object) -> Any:
        """The answer to a GET; query values that are None are left out."""
        wanted = {key: value for key, value in query.items() if value is not None}
        return self.request("GET", f"{path}?{urlencode(wanted)}" if wanted else path)

    def pages(self, path: str, **query: object) -> Iterator[Any]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **{"limit": 200, **query})
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer; None where it has no body.

        Raises:
            UnavailableError: the server cannot be reached or cannot do it now.
            MissingError, ConflictError, ForbiddenError, InvalidInputError, RuleError: it refused; the sentence is its own.
        """
        data = None if body is None else msgspec.json.encode(body)
        headers: Mapping[str, str] = self._headers
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        status, answer = self._exchange(method, self._base + path, data, headers)
        if status < 400:
            return msgspec.json.decode(answer) if answer else None
        raise self._problem(status, answer)

    def upload(self, path: str, file: Path, fields: Mapping[str, str]) -> Any:
        """Sends a file as a form, piece by piece; the decoded answer.

        Raises:
            UnavailableError: the server cannot be reached.
            ConflictError, ForbiddenError, InvalidInputError, RuleError: it refused; the sentence is its own.
        """
        boundary = secrets.token_hex(16)
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in fields.items()
        )
        name = file.name.replace('"', "_").replace("\r", "_").replace("\n", "_")
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        tail = f"\r\n--{boundary}--\r\n".encode()
        opening = head.encode()
        headers = {
            **self._headers,
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(opening) + file.stat().st_size + len(tail)),
        }

        def body() -> Iterator[bytes]:
            yield opening
            with file.open("rb") as source:
                while piece := source.read(_PIECE):
                    yield piece
            yield tail

        with contextlib.closing(self._fresh()) as connection:
            try:
                connection.request("POST", self._base + path, body(), headers)
                response = connection.getresponse()
                status, answer = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                raise UnavailableError(f"The server at {self.url} did not take the file ({error}).") from error
        if status >= 400:
            raise self._problem(status, answer)
        return msgspec.json.decode(answer)

    def download(self, path: str, target: Path) -> None:
        """Writes what a GET gives to a file, piece by piece.

        Raises:
            UnavailableError: the server cannot be reached.
            MissingError, ForbiddenError, RuleError: it refused; the sentence is its own.
        """
        with contextlib.closing(self._fresh()) as connection:
            try:
                connection.request("GET", self._base + path, headers=self._headers)
                response = connection.getresponse()
                if response.status >= 400:
                    raise self._problem(response.status, response.read())
                with target.open("wb") as written:
                    while piece := response.read(_PIECE):
                        written.write(piece)
            except http.client.HTTPException as error:
                raise UnavailableError(f"The server at {self.url} broke off ({error}).") from error

    def _fresh(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host or "", self._port, timeout=self._timeout_s)

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        for fresh in (False, True):
            connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._fresh()
                self._open.add(connection)
                fresh = True
            try:
                connection.request(method, path, data, dict(headers))
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._open.discard(connection)
                self._local.connection = None
                # A kept connection may have been closed by the server meanwhile: once more with a new one.
                if fresh:
                    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
                    raise UnavailableError(
                        f"The server at {self.url} does not answer ({reason}). {_HOW_TO_START}"
                    ) from error
        raise AssertionError("unreachable")

    def _problem(self, status: int, answer: bytes) -> ChargeplaneError:
        try:
            problem = msgspec.json.decode(answer)
            sentence = problem.get("detail") or problem.get("title")
            fields = problem.get("errors") or []
        except (msgspec.DecodeError, AttributeError):
            sentence, fields = None, []
        if status == 401:
            return ForbiddenError(
                f"The server at {self.url} does not take this API key. Give a valid one with --api-key or "
                f"CHARGEPLANE_API_KEY; a first one is printed when the server starts for the first time."
            )
        sentence = str(sentence or f"The server at {self.url} answered {status}.")
        wrong = [
            f"{field.get('pointer') or field.get('parameter') or ''}: {field.get('detail', '')}"
            for field in fields
            if field.get("detail", "") not in sentence  # it says so already
        ]
        if wrong:
            sentence += " (" + "; ".join(wrong) + ")"
        if status == 404:
            return MissingError(sentence)
        return _BY_STATUS.get(status, RuleError)(sentence)


def segment(text: str) -> str:
    """A path segment: everything that has a meaning in URLs is percent-encoded."""
    return quote(text, safe="")
