"""What a charging station can be asked about its transactions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class GetTransactionStatus(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_transaction_status"):
    """Ask what of a transaction is still to come, or of any where none is named (OCPP 2.0.1 E14). It ends with
    `TransactionStatus`.

    Args:
        ocpp_transaction_id: as the station knows it.
    """

    ocpp_transaction_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


class TransactionStatus(Struct, frozen=True, kw_only=True):
    """What a station told.

    Args:
        ongoing: whether the transaction runs; None where none was named, or the station did not say.
        messages_in_queue: whether it has messages about it that are still to be sent.
    """

    ongoing: bool | None
    messages_in_queue: bool
