"""A station's variables: OCPP 2.x device model; an OCPP 1.6 configuration key is a variable without component."""

from __future__ import annotations

from msgspec import Struct


class ReportedVariable(Struct, frozen=True, kw_only=True):
    """One attribute of a variable as a station reported it (OCPP 2.0.1 B06; 1.6, 5.8).

    Args:
        component: empty for OCPP 1.6 keys.
        evse_id, connector_id: 0 where the component belongs to the whole station (or EVSE).
        attribute: Actual, Target, MinSet, MaxSet.
        mutability: ReadOnly or ReadWrite where the report says so.
        characteristics: JSON object: data_type, supports_monitoring, unit, min_limit, max_limit, values_list; None where the
            report has none.
    """

    component: str = ""
    component_instance: str = ""
    evse_id: int = 0
    connector_id: int = 0
    variable: str
    variable_instance: str = ""
    attribute: str = "Actual"
    value: str | None = None
    mutability: str | None = None
    characteristics: bytes | None = None

    @property
    def place(self) -> tuple[str, str, int, int, str, str, str]:
        """What tells it from the station's other variables."""
        return (
            self.component,
            self.component_instance,
            self.evse_id,
            self.connector_id,
            self.variable,
            self.variable_instance,
            self.attribute,
        )
