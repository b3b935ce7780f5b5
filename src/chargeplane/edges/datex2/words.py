"""OCPI's words and those of DATEX II."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chargeplane.domain.locations.model import ConnectorContent, ConnectorFormat, EvseStatus, PaymentMethod, PowerType

STATUS: Final[Mapping[EvseStatus, str]] = {
    EvseStatus.AVAILABLE: "available",
    EvseStatus.BLOCKED: "blocked",
    EvseStatus.CHARGING: "charging",
    EvseStatus.INOPERATIVE: "inoperative",
    EvseStatus.OUTOFORDER: "outOfOrder",
    EvseStatus.PLANNED: "planned",
    EvseStatus.REMOVED: "removed",
    EvseStatus.RESERVED: "reserved",
    EvseStatus.UNKNOWN: "unknown",
}

_CONNECTORS: Final[Mapping[str, str]] = {
    "CHADEMO": "chademo",
    "IEC_60309_2_single_16": "iec60309x2single16",
    "IEC_60309_2_three_16": "iec60309x2three16",
    "IEC_60309_2_three_32": "iec60309x2three32",
    "IEC_60309_2_three_64": "iec60309x2three64",
    "IEC_62196_T1": "iec62196T1",
    "IEC_62196_T1_COMBO": "iec62196T1COMBO",
    "IEC_62196_T2": "iec62196T2",
    "IEC_62196_T2_COMBO": "iec62196T2COMBO",
    "IEC_62196_T3A": "iec62196T3A",
    "IEC_62196_T3C": "iec62196T3C",
    "MCS": "mcs",
    "PANTOGRAPH_BOTTOM_UP": "pantographBottomUp",
    "PANTOGRAPH_TOP_DOWN": "pantographTopDown",
    "TESLA_R": "teslaR",
    "TESLA_S": "teslaS",
    "SAE_J3400": "teslaConnectorAmerica",
    **{f"DOMESTIC_{letter}": f"domestic{letter}Type" for letter in "ABCDEFGHIJKLMNO"},
}

_SITES: Final[Mapping[str, str]] = {
    "ALONG_MOTORWAY": "openSpace",
    "ON_DRIVEWAY": "openSpace",
    "ON_STREET": "onstreet",
    "PARKING_GARAGE": "inBuilding",
    "UNDERGROUND_GARAGE": "inBuilding",
    "PARKING_LOT": "openSpace",
}

MEANS: Final[Mapping[PaymentMethod, str]] = {
    PaymentMethod.WEB: "qrCode",
    PaymentMethod.TERMINAL_CREDIT_CARD: "paymentCreditCard",
    PaymentMethod.TERMINAL_DEBIT_CARD: "paymentDebitCard",
    PaymentMethod.TERMINAL_CONTACTLESS: "nfc",
    PaymentMethod.WALLET: "prepay",
}
"""How one can pay for a session without a contract; a contract is a matter of `authenticationAndIdentificationMethods`."""

_IDENTIFIED: Final[tuple[tuple[str, str], ...]] = (
    ("RFID_READER", "rfid"),
    ("REMOTE_START_STOP_CAPABLE", "apps"),
    ("CREDIT_CARD_PAYABLE", "creditCard"),
    ("DEBIT_CARD_PAYABLE", "debitCard"),
    ("CONTACTLESS_CARD_SUPPORT", "nfc"),
    ("PED_TERMINAL", "pinpad"),
)
_IDENTIFIED_BY_PAYING: Final[tuple[tuple[PaymentMethod, str], ...]] = (
    (PaymentMethod.WEB, "website"),
    (PaymentMethod.PLUG_AND_CHARGE, "plc"),
    (PaymentMethod.TERMINAL_CREDIT_CARD, "creditCard"),
    (PaymentMethod.TERMINAL_DEBIT_CARD, "debitCard"),
    (PaymentMethod.TERMINAL_CONTACTLESS, "nfc"),
    (PaymentMethod.FREE, "unlimitedAccess"),
)

PLUG_AND_CHARGE: Final = frozenset({"ISO_15118_2_PLUG_AND_CHARGE", "ISO_15118_20_PLUG_AND_CHARGE"})
"""OCPI 2.3.0 ConnectorCapability."""


def connector_type(standard: str) -> tuple[str, str | None]:
    """Of an OCPI ConnectorType; with its own word where DATEX II has none."""
    found = _CONNECTORS.get(standard)
    return ("other", standard) if found is None else (found, None)


def connector_format(connector: ConnectorContent) -> str:
    """A cable at an AC connector is of mode 3; for one at a DC connector there is no word but "other cable"."""
    if connector.format is ConnectorFormat.SOCKET:
        return "socket"
    return "otherCable" if connector.power_type is PowerType.DC else "cableMode3"


def site_type(parking_type: str | None) -> str | None:
    """Of an OCPI ParkingType; None where nothing is said."""
    return None if parking_type is None else _SITES.get(parking_type, "other")


def identified_by(capabilities: frozenset[str], paying: frozenset[PaymentMethod]) -> list[str]:
    """How people are known at a station."""
    found = [word for capability, word in _IDENTIFIED if capability in capabilities]
    found += [word for method, word in _IDENTIFIED_BY_PAYING if method in paying]
    return list(dict.fromkeys(found))
