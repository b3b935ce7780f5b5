"""Versions and endpoints of a platform (OCPI 2.2.1 version_information_endpoint)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import Url
from chargeplane.ocpi.v2_2_1.enums import InterfaceRole, ModuleID, VersionNumber

__all__ = [
    "Endpoint",
    "Version",
    "VersionDetails",
]


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a module is."""

    identifier: ModuleID
    role: InterfaceRole
    url: Url


class Version(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version and where its endpoints are listed."""

    version: VersionNumber
    url: Url


class VersionDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The endpoints of a version."""

    version: VersionNumber
    endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1)]
