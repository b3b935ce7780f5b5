"""The peer to be ahead of: a minimal CSMS the usual Python way, on `ocpp` and `websockets`, state in dicts, no database.

REST (aiohttp): POST /stations/{id}/{action} with the command's payload (snake_case) gives the station's answer.
Settings by environment: PORT16=58192 PORT201=58181 PORT21=58182 REST=58180 CPU= UVLOOP=0|1 VALIDATE=1|0 DEFLATE=1|0
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import resource
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import uvloop
from aiohttp import web
from ocpp.routing import on
from websockets.asyncio.server import serve

from ocpp import v16, v21, v201

logging.getLogger("ocpp").setLevel(logging.WARNING)
logging.getLogger("websockets").setLevel(logging.WARNING)
SKIP = os.environ.get("VALIDATE", "1") == "0"

stations: dict[str, Any] = {}
boots: dict[str, Any] = {}
statuses: dict[Any, Any] = {}
transactions: dict[Any, Any] = {}
meter_values: dict[Any, Any] = {}  # last one per station
tokens = {f"AB{i:06X}" for i in range(10000)}
started = 0


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Station16(v16.ChargePoint):
    commands = v16.call

    @on("BootNotification", skip_schema_validation=SKIP)
    def on_boot(self, **kw):
        boots[self.id] = kw
        return v16.call_result.BootNotification(current_time=now(), interval=300, status="Accepted")

    @on("Heartbeat", skip_schema_validation=SKIP)
    def on_heartbeat(self):
        return v16.call_result.Heartbeat(current_time=now())

    @on("StatusNotification", skip_schema_validation=SKIP)
    def on_status(self, connector_id, error_code, status, **kw):
        statuses[self.id, connector_id] = (status, error_code, kw)
        return v16.call_result.StatusNotification()

    @on("Authorize", skip_schema_validation=SKIP)
    def on_authorize(self, id_tag):
        return v16.call_result.Authorize(id_tag_info={"status": "Accepted" if id_tag in tokens else "Invalid"})

    @on("StartTransaction", skip_schema_validation=SKIP)
    def on_start(self, connector_id, id_tag, meter_start, timestamp, **kw):
        global started
        started += 1
        transactions[started] = {"station": self.id, "tag": id_tag, "start": meter_start, "t0": timestamp}
        return v16.call_result.StartTransaction(
            transaction_id=started, id_tag_info={"status": "Accepted" if id_tag in tokens else "Invalid"}
        )

    @on("StopTransaction", skip_schema_validation=SKIP)
    def on_stop(self, meter_stop, timestamp, transaction_id, **kw):
        found = transactions.pop(transaction_id, None)  # kept elsewhere in a real one
        return v16.call_result.StopTransaction(id_tag_info={"status": "Accepted" if found else "Invalid"})

    @on("MeterValues", skip_schema_validation=SKIP)
    def on_meter_values(self, connector_id, meter_value, **kw):
        meter_values[self.id, connector_id] = meter_value
        return v16.call_result.MeterValues()


def station_2x(version: ModuleType) -> type:
    """The same station for 2.0.1 and 2.1."""
    result = version.call_result

    class Station2x(version.ChargePoint):
        commands = version.call

        @on("BootNotification", skip_schema_validation=SKIP)
        def on_boot(self, **kw):
            boots[self.id] = kw
            return result.BootNotification(current_time=now(), interval=300, status="Accepted")

        @on("Heartbeat", skip_schema_validation=SKIP)
        def on_heartbeat(self):
            return result.Heartbeat(current_time=now())

        @on("StatusNotification", skip_schema_validation=SKIP)
        def on_status(self, timestamp, connector_status, evse_id, connector_id, **kw):
            statuses[self.id, evse_id, connector_id] = connector_status
            return result.StatusNotification()

        @on("Authorize", skip_schema_validation=SKIP)
        def on_authorize(self, id_token, **kw):
            known = id_token["id_token"] in tokens
            return result.Authorize(id_token_info={"status": "Accepted" if known else "Unknown"})

        @on("MeterValues", skip_schema_validation=SKIP)
        def on_meter_values(self, evse_id, meter_value, **kw):
            meter_values[self.id, evse_id] = meter_value
            return result.MeterValues()

        @on("TransactionEvent", skip_schema_validation=SKIP)
        def on_event(self, event_type, timestamp, trigger_reason, seq_no, transaction_info, id_token=None, **kw):
            name = transaction_info["transaction_id"]
            if event_type == "Ended":
                transactions.pop((self.id, name), None)
            else:
                transactions[self.id, name] = (event_type, seq_no, kw.get("meter_value"))
            if id_token is None:
                return result.TransactionEvent()
            known = id_token["id_token"] in tokens
            return result.TransactionEvent(id_token_info={"status": "Accepted" if known else "Unknown"})

    return Station2x


def handler(station_class):
    async def on_connect(socket):
        ident = socket.request.path.strip("/").split("/")[-1]
        station = station_class(ident, socket)
        stations[ident] = station
        try:
            with contextlib.suppress(Exception):
                await station.start()
        finally:
            if stations.get(ident) is station:
                del stations[ident]

    return on_connect


async def command(request: web.Request) -> web.Response:
    station = stations.get(request.match_info["id"])
    if station is None:
        return web.json_response({"error": "not connected"}, status=404)
    call = getattr(station.commands, request.match_info["action"])(**await request.json())
    answer = await station.call(call, skip_schema_validation=SKIP)
    return web.json_response(dataclasses.asdict(answer))


async def main() -> None:
    if os.environ.get("CPU"):
        os.sched_setaffinity(0, {int(c) for c in os.environ["CPU"].split(",")})
    app = web.Application()
    app.router.add_post("/stations/{id}/{action}", command)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ.get("REST", "58180"))).start()
    options: dict[str, Any] = {"compression": None} if os.environ.get("DEFLATE", "1") == "0" else {}
    servers = [
        await serve(handler(cls), "127.0.0.1", int(os.environ.get(name, port)), subprotocols=[protocol], **options)
        for cls, name, port, protocol in (
            (Station16, "PORT16", "58192", "ocpp1.6"),
            (station_2x(v201), "PORT201", "58181", "ocpp2.0.1"),
            (station_2x(v21), "PORT21", "58182", "ocpp2.1"),
        )
    ]
    await asyncio.gather(*[server.serve_forever() for server in servers])


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.environ.get("UVLOOP") == "1":
        uvloop.run(main())
    else:
        asyncio.run(main())
