"""The device model: reading and writing variables, reports, network profiles (OCPP 2.0.1 B05 to B09; 1.6, 5.3 and 5.8)."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.variables import Attribute, ReportedVariable, VariableName, VariableSetting

MOST_VARIABLES = 1000
"""Variables that one command may name."""


class GetVariables(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_variables"):
    """Read variables; replies `VariableAnswers`. As many messages as the station's limits ask for.

    Args:
        variables: which.
    """

    variables: Annotated[tuple[VariableName, ...], Meta(min_length=1, max_length=MOST_VARIABLES)]


class SetVariables(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_variables"):
    """Write variables; replies `VariableAnswers`. As many messages as the station's limits ask for, in 1.6 one for each.

    Args:
        variables: which, with their values.
    """

    variables: Annotated[tuple[VariableSetting, ...], Meta(min_length=1, max_length=MOST_VARIABLES)]


class VariableAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a station answered for one variable.

    Args:
        status: its word: Accepted, Rejected, UnknownComponent, UnknownVariable, NotSupportedAttributeType, RebootRequired; in 1.6
            NotSupported. An answer that leaves the variable out: NotAnswered.
        value: as read; absent where the station told none, and for what is never shown.
        mutability: where the answer tells (1.6).
        reason: what the station said about it.
    """

    component: str | None = None
    component_instance: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    variable: str
    variable_instance: str | None = None
    attribute: str = Attribute.ACTUAL.value
    status: str
    value: str | None = None
    mutability: str | None = None
    reason: str | None = None

    @property
    def place(self) -> tuple[str, str, int, int, str, str, str]:
        """What tells it from the station's other attributes."""
        return (
            self.component or "",
            self.component_instance or "",
            self.evse_id or 0,
            self.connector_id or 0,
            self.variable,
            self.variable_instance or "",
            self.attribute,
        )

    @property
    def reported(self) -> ReportedVariable:
        """The same as something to be stored."""
        component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = self.place
        return ReportedVariable(
            component=component,
            component_instance=component_instance,
            evse_id=evse_id,
            connector_id=connector_id,
            variable=variable,
            variable_instance=variable_instance,
            attribute=attribute,
            value=self.value,
            mutability=self.mutability,
        )


class VariableAnswers(Struct, frozen=True, kw_only=True):
    """The reply to GetVariables and SetVariables: one answer a variable, in the order of the question."""

    results: tuple[VariableAnswer, ...]


class ReportBase(enum.StrEnum):
    """OCPP 2.x ReportBaseEnumType: what can be configured, everything, or what tells of availability and problems."""

    CONFIGURATION_INVENTORY = "configuration_inventory"
    FULL_INVENTORY = "full_inventory"
    SUMMARY_INVENTORY = "summary_inventory"


_RequestId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Name = Annotated[str, Meta(min_length=1, max_length=50)]
_Number = Annotated[int, Meta(ge=1, le=9_999)]


class GetBaseReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_base_report"):
    """Have a station report its variables (OCPP 2.0.1 B07). In 1.6 all keys are read at once; replies `VariableAnswers` there.

    Args:
        request_id: that the parts of the report come under; one is given where it is left out.
    """

    report: ReportBase = ReportBase.FULL_INVENTORY
    request_id: _RequestId | None = None


class ReportCriterion(enum.StrEnum):
    """OCPP 2.x ComponentCriterionEnumType; components with at least one of those given are reported (B08.FR.13)."""

    ACTIVE = "active"
    AVAILABLE = "available"
    ENABLED = "enabled"
    PROBLEM = "problem"


class ReportTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A component, or a variable of it, that is to be reported; what is left out stands for all (B08.FR.20 to FR.24)."""

    component: _Name
    component_instance: _Name | None = None
    evse_id: _Number | None = None
    connector_id: _Number | None = None
    variable: _Name | None = None
    variable_instance: _Name | None = None


class GetReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_report"):
    """Have a station report some of its variables (OCPP 2.0.1 B08). Without criteria and targets: all of them.

    Args:
        request_id: that the parts of the report come under; one is given where it is left out.
    """

    criteria: Annotated[tuple[ReportCriterion, ...], Meta(max_length=4)] = ()
    targets: Annotated[tuple[ReportTarget, ...], Meta(max_length=MOST_VARIABLES)] = ()
    request_id: _RequestId | None = None


class ApnAccess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OCPP 2.x APNType: how the mobile network is reached.

    Args:
        password, sim_pin: never stored, logged or shown.
    """

    apn: Annotated[str, Meta(min_length=1, max_length=512)]
    authentication: Annotated[str, Meta(pattern="^(CHAP|NONE|PAP|AUTO)$")] = "AUTO"
    user: Annotated[str, Meta(max_length=50)] | None = None
    password: Annotated[str, Meta(max_length=64)] | None = None
    sim_pin: Annotated[int, Meta(ge=0, le=99_999_999)] | None = None
    preferred_network: Annotated[str, Meta(max_length=6)] | None = None
    use_only_preferred_network: bool = False


class VpnAccess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OCPP 2.x VPNType.

    Args:
        password, key: never stored, logged or shown.
    """

    server: Annotated[str, Meta(min_length=1, max_length=512)]
    type: Annotated[str, Meta(pattern="^(IKEv2|IPSec|L2TP|PPTP)$")]
    user: Annotated[str, Meta(max_length=50)]
    group: Annotated[str, Meta(max_length=50)] | None = None
    password: Annotated[str, Meta(max_length=64)]
    key: Annotated[str, Meta(max_length=255)]


class SetNetworkProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_network_profile"):
    """Give a station a network profile (OCPP 2.x B09). It is used where NetworkConfigurationPriority names its slot, after a
    reboot (B10).

    Args:
        slot: one of the values list of NetworkConfigurationPriority.
        url: of the CSMS, without the station's identity.
        ocpp_version: that the station is to speak there; 2.1 stations negotiate it and are told none unless it is given.
        message_timeout_s: how long the station waits for answers.
        identity, password: since 2.1. A password is never stored, logged or shown.
    """

    slot: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    url: Annotated[str, Meta(min_length=1, max_length=2000, pattern="^[wW][sS][sS]?://")]
    security_profile: Annotated[int, Meta(ge=0, le=3)]
    interface: Annotated[str, Meta(pattern="^(Wired[0-3]|Wireless[0-3]|Any)$")] = "Wired0"
    ocpp_version: Annotated[str, Meta(pattern=r"^(1\.6|2\.0\.1|2\.1)$")] | None = None
    message_timeout_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    identity: Annotated[str, Meta(min_length=1, max_length=48)] | None = None
    password: Annotated[str, Meta(min_length=16, max_length=40)] | None = None
    apn: ApnAccess | None = None
    vpn: VpnAccess | None = None
