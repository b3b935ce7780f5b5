"""What any charging station can be asked to do: start, stop, unlock, restart, and the like."""

from __future__ import annotations

import enum

from msgspec import Struct

from chargeplane.domain.messages import IdToken


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """Start a transaction (1.6 RemoteStartTransaction, 2.x RequestStartTransaction).

    Args:
        remote_start_id: ours; 2.x stations give it back in TransactionEvent.
    """

    id_token: IdToken
    evse_id: int | None = None
    remote_start_id: int | None = None


class Stop(Struct, frozen=True, kw_only=True, tag="stop"):
    """Stop a transaction, named by the id the station knows it by."""

    ocpp_transaction_id: str


class Unlock(Struct, frozen=True, kw_only=True, tag="unlock"):
    """Unlock a connector."""

    evse_id: int
    connector_id: int = 1


class ResetKind(enum.StrEnum):
    """Immediate ends transactions (1.6 Hard), OnIdle waits for them (1.6 Soft)."""

    IMMEDIATE = "immediate"
    ON_IDLE = "on_idle"


class Reset(Struct, frozen=True, kw_only=True, tag="reset"):
    """Restart the station, or one EVSE of it (2.x only)."""

    kind: ResetKind = ResetKind.ON_IDLE
    evse_id: int | None = None


class Trigger(Struct, frozen=True, kw_only=True, tag="trigger"):
    """Ask for a message now.

    Args:
        message: OCPP 2.x MessageTriggerEnum word; the bridge maps it to 1.6.
    """

    message: str
    evse_id: int | None = None
    connector_id: int | None = None


class ChangeAvailability(Struct, frozen=True, kw_only=True, tag="change_availability"):
    """Take the station, an EVSE or a connector in or out of service. evse_id None or 0: the whole station."""

    operative: bool
    evse_id: int | None = None
    connector_id: int | None = None


class ClearCache(Struct, frozen=True, kw_only=True, tag="clear_cache"):
    """Forget cached authorisations."""


class DeliverCertificate(Struct, frozen=True, kw_only=True, tag="deliver_certificate"):
    """Give the station the certificate it asked for (CertificateSigned).

    Args:
        chain: PEM: the certificate, then the intermediate ones.
        use: OCPP 2.x CertificateSigningUseEnum word as the station gave it (A02.FR.14).
        request_id: the station's, of its request (2.1).
    """

    chain: str
    use: str | None = None
    request_id: int | None = None
