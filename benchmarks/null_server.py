"""Answers every OCPP-J call with a canned reply: the ceiling of ocpp_load.py. No validation, no state, not a CSMS.

usage: null_server.py [port] [cpu]
"""

from __future__ import annotations

import os
import sys

import orjson
import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

CANNED = {
    "BootNotification": b'{"status":"Accepted","currentTime":"2026-01-01T00:00:00Z","interval":300}',
    "Heartbeat": b'{"currentTime":"2026-01-01T00:00:00Z"}',
    "Authorize": b'{"idTagInfo":{"status":"Accepted"},"idTokenInfo":{"status":"Accepted"}}',
    "StartTransaction": b'{"transactionId":1,"idTagInfo":{"status":"Accepted"}}',
    "StopTransaction": b'{"idTagInfo":{"status":"Accepted"}}',
}


class Null(WSListener):
    """One connection."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answers a call."""
        if frame.msg_type == WSMsgType.TEXT:
            message = orjson.loads(frame.get_payload_as_memoryview())
            if message[0] == 2:
                answer = CANNED.get(message[2], b"{}")
                transport.send(WSMsgType.TEXT, b'[3,"%b",%b]' % (message[1].encode(), answer))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(1000)
            transport.disconnect()


def _factory(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
    protocol = request.headers.get("sec-websocket-protocol", "ocpp1.6").split(",")[0].strip()
    response = WSUpgradeResponse.create_101_response(extra_headers={"Sec-WebSocket-Protocol": protocol})
    return WSUpgradeResponseWithListener(response, Null())


async def main() -> None:
    """Serves until it is killed."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 19000
    if len(sys.argv) > 2:
        os.sched_setaffinity(0, {int(sys.argv[2])})
    server = await ws_create_server(_factory, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
