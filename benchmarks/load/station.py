"""One simulated station on one socket, driven by call-backs; and what the stations of a run share."""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import os
import time
import zlib
from array import array
from collections.abc import Callable, Generator
from typing import Any

import orjson
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from benchmarks.load.payloads import reply_to
from benchmarks.load.watch import Watch

now_ns = time.perf_counter_ns

Answer = dict[str, Any] | None
"""The payload of a CALLRESULT; None after a CALLERROR, a time-out or a lost connection."""

Script = Generator[tuple[str, bytes], Answer, None]
"""What a station does: yields (action, payload), is sent the answer."""

_DEFLATE_TAIL = b"\x00\x00\xff\xff"


class Control:
    """Shared by all stations of a run.

    Args:
        args: the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.v16: bool = args.version == "1.6"
        self.run_id = os.urandom(4).hex()
        self.counter = itertools.count(1)
        self.loop = asyncio.get_running_loop()
        self.watch = Watch(args.watch)
        self.stop = False
        self.active = 0
        self.all_done: asyncio.Future[None] | None = None
        self.call_timeout_ns = int(args.call_timeout * 1e9)
        self.server_call_hook: Callable[[Station, str, int], None] | None = None
        self.open_loop = False
        self.reset()

    def reset(self) -> None:
        """Forgets all figures."""
        self.window: tuple[int, int] | None = None
        self.latencies: dict[str, array[int]] = collections.defaultdict(lambda: array("q"))
        self.sequence_latencies = array("q")
        self.answered = 0
        self.totals: collections.Counter[str] = collections.Counter()
        self.callerrors: collections.Counter[str] = collections.Counter()
        self.timeouts = 0
        self.statuses: collections.Counter[str] = collections.Counter()
        self.server_calls: collections.Counter[str] = collections.Counter()
        self.unexpected = 0
        self.lost = 0


class Station(WSListener):
    """A station: sends one call at a time, answers every call of the CSMS.

    Args:
        ctl: what all share.
        index: its number.
        station_id: its identity.
        tag: its driver's id token.
    """

    def __init__(self, ctl: Control, index: int, station_id: str, tag: str) -> None:
        self.ctl = ctl
        self.index = index
        self.station_id = station_id
        self.tag = tag.encode()
        self.id_token = b'{"idToken":"%b","type":"%b"}' % (self.tag, ctl.args.token_type.encode())
        self.msg_prefix = f"{ctl.run_id}-{index & 0xFFFF:04x}-4000-8000-".encode()
        self.transport: WSTransport | None = None
        self.deflated = False
        self.pending: str | None = None
        self.action = ""
        self.sent_at = 0
        self.from_ns = 0  # what the latency counts from: the sending, or in the open loop when it was due
        self.script: Script | None = None
        self.due: collections.deque[int] = collections.deque()  # open loop: calls that wait for the open one
        self.at_rest = False  # open loop: no call is open, the script waits for its next slot
        self._held: Answer = None
        self.waiter: asyncio.Future[Answer] | None = None
        self.closed = True
        self.close_code: WSCloseCode | None = None
        self._fragments: bytes | None = None
        self.disconnected: asyncio.Future[None] | None = None

    # --- picows ----------------------------------------------------------------------------------------------
    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self.transport = transport
        self.closed = False
        self.disconnected = self.ctl.loop.create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame from the CSMS."""
        at = now_ns()
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            data = frame.get_payload_as_bytes()
            if frame.rsv1:
                data = zlib.decompressobj(-15).decompress(data + _DEFLATE_TAIL)
            if not frame.fin or self._fragments is not None:
                self._fragments = (self._fragments or b"") + data
                if not frame.fin:
                    return
                data, self._fragments = self._fragments, None
            self._message(at, orjson.loads(data))
        elif kind == WSMsgType.CLOSE:
            self.close_code = frame.get_close_code()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone; an open call is lost."""
        self.closed = True
        self.transport = None
        if self.disconnected and not self.disconnected.done():
            self.disconnected.set_result(None)
        if self.pending is not None:
            self.ctl.lost += 1
            self.pending = None
            if self.waiter and not self.waiter.done():
                self.waiter.set_result(None)
        if self.script is not None:
            self.script = None
            self._finished()

    # --- calls -----------------------------------------------------------------------------------------------
    def _message(self, at: int, message: list[Any]) -> None:
        kind = message[0]
        if kind == 2:
            self._server_call(at, message)
        elif kind in (3, 4) and message[1] == self.pending:
            if kind == 4:
                self.ctl.callerrors[f"{self.action}:{message[2]}:{str(message[3])[:60]}"] += 1
            self.settled(at, message[2] if kind == 3 else None)
        else:
            self.ctl.unexpected += 1

    def send(self, data: bytes) -> None:
        """Sends a text message, compressed where that was agreed on."""
        assert self.transport is not None
        if self.deflated:
            packer = zlib.compressobj(1, zlib.DEFLATED, -15)
            data = (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        self.transport.send(WSMsgType.TEXT, data, True, self.deflated)

    def send_call(self, action: str, payload: bytes) -> None:
        """Sends a call; `settled` ends it."""
        mid = self.msg_prefix + b"%012x" % next(self.ctl.counter)
        self.pending = mid.decode()
        self.action = action
        self.sent_at = now_ns()
        if not self.ctl.open_loop:
            self.from_ns = self.sent_at
        self.send(b'[2,"%b","%b",%b]' % (mid, action.encode(), payload))

    def _server_call(self, at: int, message: list[Any]) -> None:
        ctl = self.ctl
        ctl.server_calls[message[2]] += 1
        if ctl.server_call_hook is not None:
            ctl.server_call_hook(self, message[2], at)
        self.send(orjson.dumps([3, message[1], reply_to(ctl.v16, message[2], message[3])]))

    def settled(self, at: int, payload: Answer) -> None:
        """The open call is over: a result, or None after a CALLERROR or a time-out."""
        ctl = self.ctl
        self.pending = None
        if payload is not None:
            ctl.totals[self.action] += 1
            # Closed loop: an answer counts when it comes; open loop: a call counts when it was due.
            moment = self.from_ns if ctl.open_loop else at
            if ctl.window is not None and ctl.window[0] <= moment < ctl.window[1]:
                ctl.answered += 1
                ctl.latencies[self.action].append(at - self.from_ns)
        if self.script is not None:
            if not ctl.open_loop:
                self._step(payload)
            elif self.due:
                self.from_ns = self.due.popleft()
                self._step(payload)
            else:
                self._held = payload
                self.at_rest = True
        elif self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(payload)

    def slot(self, due_ns: int) -> None:
        """Open loop: a call is due now; one that finds another open waits in line, and its latency counts from now."""
        if self.at_rest:
            self.at_rest = False
            self.from_ns = due_ns
            self._step(self._held)
        elif self.script is not None:
            self.due.append(due_ns)

    def resume(self) -> None:
        """Open loop is over: goes on without slots, so that the script can end."""
        self.due.clear()
        if self.at_rest:
            self.at_rest = False
            self._step(self._held)

    def _step(self, payload: Answer) -> None:
        assert self.script is not None
        try:
            action, body = self.script.send(payload)
        except StopIteration:
            self.script = None
            self._finished()
            return
        self.send_call(action, body)

    def _finished(self) -> None:
        ctl = self.ctl
        ctl.active -= 1
        if ctl.active <= 0 and ctl.all_done is not None and not ctl.all_done.done():
            ctl.all_done.set_result(None)

    def start(self, script: Script) -> None:
        """Begins a script; in the open loop its first call waits for a slot."""
        self.script = script
        self.due.clear()
        self._held = None
        self.at_rest = self.ctl.open_loop
        if not self.at_rest:
            self._step(None)

    async def call(self, action: str, payload: bytes, timeout_s: float) -> Answer:
        """One call outside of a script. None on CALLERROR, loss or time-out."""
        self.waiter = self.ctl.loop.create_future()
        self.send_call(action, payload)
        try:
            return await asyncio.wait_for(self.waiter, timeout_s)
        except TimeoutError:
            self.pending = None
            self.ctl.timeouts += 1
            return None
        finally:
            self.waiter = None
