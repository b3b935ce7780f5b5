"""What a fleet counts while it runs."""

from __future__ import annotations


class Counters:
    """Totals over the stations that share the object.

    Attributes:
        connected: sockets open now.
        charging: transactions going on now.
        sent, acknowledged, errors, unanswered: CALLs of the stations and how they ended.
        called: CALLs of the CSMS.
        delivered_wh: energy of the sessions that ended, in Wh.
    """

    __slots__ = (
        "acknowledged",
        "boots",
        "boots_refused",
        "called",
        "charging",
        "connected",
        "connects",
        "delivered_wh",
        "errors",
        "foreign_answers",
        "garbage",
        "refused",
        "sent",
        "sessions",
        "sessions_refused",
        "unanswered",
    )

    def __init__(self) -> None:
        self.connected = 0
        self.connects = 0
        self.refused = 0
        self.boots = 0
        self.boots_refused = 0
        self.charging = 0
        self.sessions = 0
        self.sessions_refused = 0
        self.delivered_wh = 0
        self.sent = 0
        self.acknowledged = 0
        self.errors = 0
        self.unanswered = 0
        self.foreign_answers = 0
        self.called = 0
        self.garbage = 0
