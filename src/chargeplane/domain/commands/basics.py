"""What any charging station can be asked to do: start, stop, unlock, restart, and the like."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.charging_profiles import ChargingProfile
from chargeplane.domain.messages import IdToken

EvseId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""An EVSE's number; 1.6 connector n is EVSE n."""

StationOrEvseId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""An EVSE's number; 0 for the whole station."""

ConnectorId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""A connector's number within its EVSE; in 1.6 always 1."""


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """Start a transaction (1.6 RemoteStartTransaction, 2.x RequestStartTransaction).

    Args:
        group_id_token: tokens of this group may stop it too (2.x; 1.6 stations ask when they need to know).
        remote_start_id: ours; 2.x stations give it back in TransactionEvent.
        charging_profile: a TxProfile without a transaction id, for the transaction that starts (F01, K05; 1.6, 5.11); its
            `evse_id` is not looked at.
    """

    id_token: IdToken
    group_id_token: IdToken | None = None
    evse_id: int | None = None
    remote_start_id: int | None = None
    charging_profile: ChargingProfile | None = None


class Stop(Struct, frozen=True, kw_only=True, tag="stop"):
    """Stop a transaction, named by the id the station knows it by."""

    ocpp_transaction_id: str


class Unlock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="unlock"):
    """Unlock a connector."""

    evse_id: EvseId
    connector_id: ConnectorId = 1


class ResetKind(enum.StrEnum):
    """Immediate ends transactions (1.6 Hard), OnIdle waits for them (1.6 Soft), ImmediateAndResume goes on with them after the
    restart (2.1 B13)."""

    IMMEDIATE = "immediate"
    IMMEDIATE_AND_RESUME = "immediate_and_resume"
    ON_IDLE = "on_idle"


class Reset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="reset"):
    """Restart the station, or one EVSE of it (2.x only): at once, ending transactions, or on idle."""

    kind: ResetKind = ResetKind.ON_IDLE
    evse_id: EvseId | None = None


class Trigger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="trigger"):
    """Ask for a message now.

    Args:
        message: OCPP 2.x MessageTriggerEnum word; the bridge maps it to 1.6.
        custom: name of the vendor's own trigger, with the message `CustomTrigger` (2.1).
    """

    message: Annotated[str, Meta(min_length=1, max_length=50)]
    custom: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    evse_id: EvseId | None = None
    connector_id: ConnectorId | None = None


class ChangeAvailability(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="change_availability"):
    """Take the station, an EVSE or a connector in or out of service. evse_id None or 0: the whole station."""

    operative: bool
    evse_id: StationOrEvseId | None = None
    connector_id: ConnectorId | None = None


class ClearCache(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_cache"):
    """Forget cached authorisations."""


class DeliverCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="deliver_certificate"):
    """Give the station the certificate it asked for (CertificateSigned).

    Args:
        chain: PEM: the certificate, then the intermediate ones.
        use: OCPP 2.x CertificateSigningUseEnum word as the station gave it (A02.FR.14).
        request_id: the station's, of its request (2.1).
    """

    chain: str
    use: str | None = None
    request_id: int | None = None
