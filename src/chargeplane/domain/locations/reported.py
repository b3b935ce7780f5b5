"""What a station reports of itself, as EVSEs and connectors: where nobody described them yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chargeplane.domain.locations.model import ConnectorContent, ConnectorFormat, PowerType

# OCPP 2.x ConnectorEnumStringType (appendix): OCPI's ConnectorType, and whether the cable is fixed.
_STANDARDS: Final[dict[str, tuple[str, ConnectorFormat]]] = {
    "cCCS1": ("IEC_62196_T1_COMBO", ConnectorFormat.CABLE),
    "cCCS2": ("IEC_62196_T2_COMBO", ConnectorFormat.CABLE),
    "cChaoJi": ("CHAOJI", ConnectorFormat.CABLE),
    "cG105": ("CHADEMO", ConnectorFormat.CABLE),
    "cGBT": ("GBT_DC", ConnectorFormat.CABLE),
    "cGBT-DC": ("GBT_DC", ConnectorFormat.CABLE),
    "cLECCS": ("IEC_62196_T2_COMBO", ConnectorFormat.CABLE),
    "cMCS": ("MCS", ConnectorFormat.CABLE),
    "cNACS": ("SAE_J3400", ConnectorFormat.CABLE),
    "cNACS-CCS1": ("SAE_J3400", ConnectorFormat.CABLE),
    "cTesla": ("TESLA_S", ConnectorFormat.CABLE),
    "cType1": ("IEC_62196_T1", ConnectorFormat.CABLE),
    "cType2": ("IEC_62196_T2", ConnectorFormat.CABLE),
    "cUltraChaoJi": ("CHAOJI", ConnectorFormat.CABLE),
    "Pan": ("PANTOGRAPH_TOP_DOWN", ConnectorFormat.CABLE),
    "s309-1P-16A": ("IEC_60309_2_single_16", ConnectorFormat.SOCKET),
    "s309-3P-16A": ("IEC_60309_2_three_16", ConnectorFormat.SOCKET),
    "s309-3P-32A": ("IEC_60309_2_three_32", ConnectorFormat.SOCKET),
    "sBS1361": ("DOMESTIC_G", ConnectorFormat.SOCKET),
    "sCEE-7-7": ("DOMESTIC_F", ConnectorFormat.SOCKET),
    "sType2": ("IEC_62196_T2", ConnectorFormat.SOCKET),
    "sType3": ("IEC_62196_T3C", ConnectorFormat.SOCKET),
}
_DC: Final = frozenset(
    {"IEC_62196_T1_COMBO", "IEC_62196_T2_COMBO", "CHAOJI", "CHADEMO", "GBT_DC", "MCS", "PANTOGRAPH_TOP_DOWN"}
)


def described(connector_id: int, variables: Mapping[str, str]) -> ConnectorContent:
    """A connector as far as a station told of it; the rest is the commonest there is, to be corrected by a person.

    Args:
        variables: values of its device model: `ConnectorType` of the connector; `Power` (W), `SupplyPhases`, `DCVoltage` of its EVSE.
    """
    standard, form = _STANDARDS.get(variables.get("ConnectorType", ""), ("IEC_62196_T2", ConnectorFormat.SOCKET))
    power = _number(variables.get("Power"))
    phases = _number(variables.get("SupplyPhases"))
    if standard in _DC or phases == 0:
        kind, voltage, amperage = PowerType.DC, _number(variables.get("DCVoltage")) or 500, 125
    elif phases == 1:
        kind, voltage, amperage = PowerType.AC_1_PHASE, 230, 32
    else:
        kind, voltage, amperage = PowerType.AC_3_PHASE, 230, 32
    lines = 3 if kind is PowerType.AC_3_PHASE else 1
    if power:
        amperage = max(1, min(10_000, -(-power // (voltage * lines))))
    return ConnectorContent(
        id=str(connector_id),
        standard=standard,
        format=form,
        power_type=kind,
        max_voltage=min(voltage, 10_000),
        max_amperage=amperage,
        max_electric_power=power or None,
        ocpp_connector_id=connector_id,
    )


def _number(text: str | None) -> int | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return int(value) if 0 <= value <= 100_000_000 else None
