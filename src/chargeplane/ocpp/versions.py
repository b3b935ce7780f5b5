"""The OCPP versions and how each names itself and its errors on the wire."""

from __future__ import annotations

import enum
from typing import Final


class OcppVersion(enum.StrEnum):
    """The versions this library speaks, oldest first."""

    V16 = "1.6"
    V201 = "2.0.1"
    V21 = "2.1"

    @property
    def subprotocol(self) -> str:
        """Name in `Sec-WebSocket-Protocol` (OCPP-J 1.6, 3.1.2; OCPP-J 2.1, 3.1.2)."""
        return f"ocpp{self.value}"

    @classmethod
    def from_subprotocol(cls, name: str) -> OcppVersion | None:
        """The version of a `Sec-WebSocket-Protocol` name, compared without case; None where we do not speak it."""
        return _BY_SUBPROTOCOL.get(name.strip().lower())


_BY_SUBPROTOCOL: Final = {version.subprotocol: version for version in OcppVersion}


class ErrorCode(enum.StrEnum):
    """RPC framework error codes, in the spelling of OCPP 2.x (OCPP-J 2.0.1, 4.3; OCPP-J 2.1, 4.3)."""

    FORMAT_VIOLATION = "FormatViolation"
    GENERIC_ERROR = "GenericError"
    INTERNAL_ERROR = "InternalError"
    MESSAGE_TYPE_NOT_SUPPORTED = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE_CONSTRAINT_VIOLATION = "OccurrenceConstraintViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    PROTOCOL_ERROR = "ProtocolError"
    RPC_FRAMEWORK_ERROR = "RpcFrameworkError"
    SECURITY_ERROR = "SecurityError"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"

    def spelled(self, version: OcppVersion) -> str:
        """The code as the version has it.

        OCPP-J 1.6, 4.2.3 misspells one code, names another differently and lacks two; for those we chose its nearest.
        """
        return _SPELLED_16.get(self, self.value) if version is OcppVersion.V16 else self.value


_SPELLED_16: Final = {
    ErrorCode.FORMAT_VIOLATION: "FormationViolation",
    ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION: "OccurenceConstraintViolation",
    ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED: "GenericError",
    ErrorCode.RPC_FRAMEWORK_ERROR: "FormationViolation",
}
