"""Versions and endpoints of a platform (OCPI 2.3.0 version_information_endpoint)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import Url
from chargeplane.ocpi.v2_3_0.enums import AnyModuleID, AnyVersionNumber, InterfaceRole

__all__ = [
    "Endpoint",
    "Version",
    "VersionDetails",
]


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a module is."""

    identifier: AnyModuleID
    role: InterfaceRole
    url: Url


class Version(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version and where its endpoints are listed."""

    version: AnyVersionNumber
    url: Url


class VersionDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The endpoints of a version."""

    version: AnyVersionNumber
    endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1)]
