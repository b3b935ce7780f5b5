"""The OCPP log, live, station by station."""

from __future__ import annotations

from typing import Any, Final

from msgspec import MsgspecError, json
from msgspec.structs import replace

from chargeplane.app.ports import LoggedCall, MessageLog
from chargeplane.app.watching import Watching
from chargeplane.kernel.ids import StationKey

_WITH_TOKENS: Final = frozenset(
    {"Authorize", "TransactionEvent", "RequestStartTransaction", "ReserveNow", "SendLocalList"}
)
_KEY_CODE: Final = b"KeyCode"


def without_key_codes(payload: bytes) -> bytes | None:
    """The JSON with every id token of type KeyCode hidden; None where it is no JSON."""
    try:
        value = json.decode(payload)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("type") == "KeyCode" and "idToken" in one:
                one["idToken"] = "(hidden)"
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return json.encode(value)


class MessageFeed:
    """The OCPP log, live, station by station; passes every entry on to the log that keeps it.

    Costs one dict look-up a message while nobody watches.
    """

    def __init__(self, log: MessageLog) -> None:
        self._log = log
        self._watched: dict[StationKey, set[MessageWatcher]] = {}
        self._closed = False

    def add(self, entry: LoggedCall) -> None:
        """Keeps the entry and shows it to whoever watches its station; without key codes, which no log may show (OCPP 2.0.1
        C04.FR.04)."""
        if entry.action in _WITH_TOKENS and entry.request is not None and _KEY_CODE in entry.request:
            entry = replace(entry, request=without_key_codes(entry.request))
        self._log.add(entry)
        if self._watched:
            watchers = self._watched.get(entry.station)
            if watchers:
                for watcher in watchers:
                    watcher.put(entry)

    def watch(self, key: StationKey) -> MessageWatcher:
        """A new watcher of a station's messages."""
        watcher = MessageWatcher(self, key)
        if self._closed:
            watcher.end()
        self._watched.setdefault(key, set()).add(watcher)
        return watcher

    def leave(self, watcher: MessageWatcher) -> None:
        """The watcher is gone."""
        watchers = self._watched.get(watcher.key)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._watched[watcher.key]

    def close(self) -> None:
        """Ends all watchers: the server stops."""
        self._closed = True
        for watchers in self._watched.values():
            for watcher in watchers:
                watcher.end()


class MessageWatcher(Watching[LoggedCall]):
    """One who watches a station's messages. End with `close`."""

    def __init__(self, feed: MessageFeed, key: StationKey) -> None:
        super().__init__()
        self.key = key
        self._feed = feed

    def close(self) -> None:
        """Leaves the feed."""
        self._feed.leave(self)
