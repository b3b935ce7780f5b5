"""What is shown to the driver: messages, tariffs, costs; and what stations do besides charging."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Struct

from chargeplane.domain.commands.basics import EvseId, StationOrEvseId
from chargeplane.domain.display import DisplayMessage, MessagePriority, MessageState
from chargeplane.domain.messages import IdToken
from chargeplane.domain.station_tariffs import StationTariff, TariffId, within_reason

Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""An OCPP number."""

OcppTransactionId = Annotated[str, Meta(min_length=1, max_length=36)]
"""As the station names the transaction."""


class SetDisplayMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_display_message"):
    """Show a message, or another one in place of that with the same number (2.x)."""

    id: Number
    message: DisplayMessage


class GetDisplayMessages(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_display_messages"):
    """Have the station tell its messages (2.x); all, or those of some numbers, a priority, a state."""

    request_id: Number
    ids: Annotated[tuple[Number, ...], Meta(max_length=100)] = ()
    priority: MessagePriority | None = None
    state: MessageState | None = None


class ClearDisplayMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_display_message"):
    """Take a message off the display (2.x)."""

    id: Number


class UpdateCost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="update_cost"):
    """Show the driver what the transaction costs so far (2.x CostUpdated).

    Args:
        total_cost: in the currency the station shows, taxes included.
    """

    ocpp_transaction_id: OcppTransactionId
    total_cost: Decimal

    def __post_init__(self) -> None:
        within_reason(self, "total_cost")


class SetDefaultTariff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_default_tariff"):
    """Have the station calculate with a tariff where the driver has none of their own (2.1). evse_id 0: everywhere."""

    tariff: StationTariff
    evse_id: StationOrEvseId = 0


class GetTariffs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_tariffs"):
    """Ask which tariffs the station has (2.1). Reply: `station_tariffs.TariffsThere`."""

    evse_id: StationOrEvseId = 0


class ClearTariffs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_tariffs"):
    """Have the station forget default tariffs (2.1); all, or some. Reply: `station_tariffs.TariffsCleared`."""

    tariff_ids: Annotated[tuple[TariffId, ...], Meta(max_length=100)] = ()
    evse_id: StationOrEvseId | None = None


class ChangeTransactionTariff(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="change_transaction_tariff"
):
    """Have the station go on with another tariff in a running transaction (2.1)."""

    ocpp_transaction_id: OcppTransactionId
    tariff: StationTariff


class TransferData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="transfer_data"):
    """Send something of a vendor's own. Reply: `station_exchanges.DataTransferAnswer`.

    Args:
        data: anything; a station of 1.6 gets what is no text as JSON in a text.
    """

    vendor_id: Annotated[str, Meta(min_length=1, max_length=255)]
    message_id: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    data: Any = None


class RequestBatterySwap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="request_battery_swap"):
    """Let a driver swap batteries (2.1)."""

    id_token: IdToken
    request_id: Number


class AdjustStream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="adjust_stream"):
    """Have a stream of periodic values sent more or less often (2.1 AdjustPeriodicEventStream).

    Args:
        interval_s: after so long.
        values: after so many values.
    """

    id: Number
    interval_s: Number | None = None
    values: Number | None = None


class GetStreams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_streams"):
    """Ask for the open streams of periodic values (2.1). Reply: `station_exchanges.Streams`."""


class TellWebPayment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="tell_web_payment"):
    """Tell that somebody pays for an EVSE on the web (2.1 NotifyWebPaymentStarted): it need not show its code any more.

    Args:
        hold_s: for so long the EVSE is kept for them.
    """

    evse_id: EvseId
    hold_s: Annotated[int, Meta(ge=1, le=86400)] = 120
