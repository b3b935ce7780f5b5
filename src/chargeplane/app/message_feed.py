"""The OCPP log, live, station by station."""

from __future__ import annotations

from chargeplane.app.ports import LoggedCall, MessageLog
from chargeplane.app.watching import Watching
from chargeplane.kernel.ids import StationKey


class MessageFeed:
    """The OCPP log, live, station by station; passes every entry on to the log that keeps it.

    Costs one dict look-up a message while nobody watches.
    """

    def __init__(self, log: MessageLog) -> None:
        self._log = log
        self._watched: dict[StationKey, set[MessageWatcher]] = {}
        self._closed = False

    def add(self, entry: LoggedCall) -> None:
        """Keeps the entry and shows it to whoever watches its station."""
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
