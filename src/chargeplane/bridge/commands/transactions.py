"""Questions about transactions as CALLs, and what stations answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.domain.commands.outcomes import CommandState
from chargeplane.domain.commands.transactions import GetTransactionStatus, TransactionStatus
from chargeplane.ocpp import v21, v201
from chargeplane.ocpp.versions import OcppVersion


class _Told(Struct):
    """GetTransactionStatusResponse of either version, as far as it is used."""

    messagesInQueue: bool  # noqa: N815
    ongoingIndicator: bool | None = None  # noqa: N815


_decode: Final = msgspec.json.Decoder(_Told).decode


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    def status(command: GetTransactionStatus) -> tuple[str, Struct]:
        # E14.FR.06: without an id it is asked about all of them
        return "GetTransactionStatus", v.GetTransactionStatusRequest(transaction_id=command.ocpp_transaction_id)

    return {GetTransactionStatus: status}


def _answered(payload: bytes) -> Understood:
    told = _decode(payload)
    return Understood(
        state=CommandState.ACCEPTED,
        status="MessagesInQueue" if told.messagesInQueue else "NothingInQueue",
        reply=TransactionStatus(ongoing=told.ongoingIndicator, messages_in_queue=told.messagesInQueue),
    )


SUBJECT: Final = Subject(
    calls={OcppVersion.V201: _calls2x(v201), OcppVersion.V21: _calls2x(v21)},
    lacks={
        (
            OcppVersion.V16,
            GetTransactionStatus,
        ): "OCPP 1.6 has no question about transactions; what its stations have queued they send by themselves."
    },
    answers={
        OcppVersion.V201: {GetTransactionStatus: _answered},
        OcppVersion.V21: {GetTransactionStatus: _answered},
    },
)
"""What stations can be asked about transactions."""
