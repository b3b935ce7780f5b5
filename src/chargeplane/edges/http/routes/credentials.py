"""Certificates on a station, and staged changes of its password and its security profile."""

from __future__ import annotations

import enum
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.installed_certificates import InstalledView
from chargeplane.domain.certificates import CertificateUse
from chargeplane.domain.credential_changes import ChangeKind
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import StateText, StationIdPath, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.credential_changes import CREDENTIAL_CHANGE_SORTS, CredentialChangeView

_ROTATION = "password rotation"
_CHANGE = "change of security profile"

Password = Annotated[
    str, Meta(description="16 to 40 characters, 16 to 20 bytes for OCPP 1.6; a random one where null.")
]
WaitS = Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the station's answer.")]


class RootUse(enum.StrEnum):
    """What a root is for, as OCPP 2.1 names it."""

    CSMS = CertificateUse.CSMS_ROOT.value
    MANUFACTURER = CertificateUse.MANUFACTURER_ROOT.value
    V2G = CertificateUse.V2G_ROOT.value
    MO = CertificateUse.MO_ROOT.value
    OEM = CertificateUse.OEM_ROOT.value


class NewRoot(Struct, kw_only=True, forbid_unknown_fields=True):
    """A root certificate that a station is to trust.

    Args:
        certificate: PEM; the root of the house where null, for CSMSRootCertificate.
    """

    use: RootUse = RootUse.CSMS
    certificate: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None


class NewPassword(Struct, kw_only=True, forbid_unknown_fields=True):
    """A password that a station is to have."""

    password: Password | None = None


class NewProfile(Struct, kw_only=True, forbid_unknown_fields=True):
    """A security profile that a station is to have.

    Args:
        password: where the profile has one and the station none yet.
        url: where the station reaches this server by the new profile, without its identity; 2.x only.
        root: PEM that leads to this server's certificate; the root of the house where that made it.
        slot: of the new network connection profile (2.x); one that is not in use where null.
        interface: OCPPInterfaceEnum word (2.x).
        force: to a less secure profile, which has to be set at the station by hand.
    """

    security_profile: Annotated[int, Meta(ge=0, le=3)]
    password: Password | None = None
    url: Annotated[str, Meta(min_length=1, max_length=512, pattern="^wss?://")] | None = None
    root: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None
    slot: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    interface: Annotated[str, Meta(pattern="^(Wired[0-3]|Wireless[0-3]|Any)$")] = "Wired0"
    force: bool = False


def credential_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    changes = services.subjects.credential_changes
    installed = services.subjects.installed_certificates

    @get(
        "/v1/charging-stations/{station_id:str}/installed-certificates",
        tags=["security"],
        opt={"scope": Scope.CERTIFICATES_READ},
    )
    async def list_installed_certificates(
        request: Request[Any, Any, Any], station_id: StationIdPath, refresh: FromQuery[bool] = False
    ) -> InstalledView:
        """The certificates a station has, by its last answer; with `refresh` it is asked now."""
        return await installed.all_of(caller_of(request), station_id, refresh=refresh)

    @post(
        "/v1/charging-stations/{station_id:str}/installed-certificates",
        tags=["security"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=202,
    )
    async def install_certificate(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[NewRoot], wait_s: WaitS = 0.0
    ) -> Response[CommandView]:
        """Has a station trust a root certificate. The answer is the command that brings it."""
        use = CertificateUse(data.use.value)
        view = await installed.install(caller_of(request), station_id, use, data.certificate, wait_s)
        return Response(view, headers={"Location": f"/v1/commands/{quote(view.id)}"})

    @delete(
        "/v1/charging-stations/{station_id:str}/installed-certificates/{serial_number:str}",
        tags=["security"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=202,
    )
    async def delete_installed_certificate(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        serial_number: FromPath[str],
        use: FromQuery[CertificateUse | None] = None,
        force: FromQuery[bool] = False,
        wait_s: WaitS = 0.0,
    ) -> Response[CommandView]:
        """Has a station delete a certificate that it listed. The root by which it trusts this server, and the last one of its kind,
        are deleted with `force` only. The answer is the command."""
        view = await installed.delete(
            caller_of(request), station_id, serial_number[:64], use, force=force, wait_s=wait_s
        )
        return Response(view, headers={"Location": f"/v1/commands/{quote(view.id)}"})

    @post(
        "/v1/charging-stations/{station_id:str}/password-rotations",
        tags=["security"],
        opt={"scope": Scope.STATIONS_WRITE},
        status_code=201,
    )
    async def rotate_password(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[NewPassword]
    ) -> Response[CredentialChangeView]:
        """Gives a station another password, so that it cannot be locked out: the old one and the new one are good until it came in by
        the new one. A random one is told to nobody but the station."""
        view = await changes.rotate_password(caller_of(request), station_id, data.password)
        return _made(view, "password-rotations")

    @get(
        "/v1/charging-stations/{station_id:str}/password-rotations",
        tags=["security"],
        opt={"scope": Scope.STATIONS_READ, "sorts": CREDENTIAL_CHANGE_SORTS},
    )
    async def list_password_rotations(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: StateText = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CredentialChangeView]:
        """A station's password rotations, newest first."""
        after = begin(request, cursor, sort)
        found = await changes.page(caller_of(request), station_id, ChangeKind.PASSWORD, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/password-rotations/{id:str}", tags=["security"], opt={"scope": Scope.STATIONS_READ})
    async def get_password_rotation(request: Request[Any, Any, Any], id: FromPath[str]) -> CredentialChangeView:
        """A password rotation and how far it is."""
        return await changes.one(caller_of(request), ChangeKind.PASSWORD, ident_of(_ROTATION, id))

    @post(
        "/v1/password-rotations/{id:str}/cancel",
        tags=["security"],
        opt={"scope": Scope.STATIONS_WRITE},
        status_code=200,
    )
    async def cancel_password_rotation(request: Request[Any, Any, Any], id: FromPath[str]) -> CredentialChangeView:
        """Ends a rotation that waits for its station. 409 where the station has heard of it."""
        return await changes.cancel(caller_of(request), ChangeKind.PASSWORD, ident_of(_ROTATION, id))

    @post(
        "/v1/charging-stations/{station_id:str}/security-profile-changes",
        tags=["security"],
        opt={"scope": Scope.STATIONS_WRITE},
        status_code=201,
    )
    async def change_security_profile(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[NewProfile]
    ) -> Response[CredentialChangeView]:
        """Brings a station to another security profile: what it needs (root, password, certificate), the profile, a new connection.
        Its registered profile changes when it came in by the new one; a station that falls back is left as it was."""
        view = await changes.change_profile(
            caller_of(request),
            station_id,
            data.security_profile,
            password=data.password,
            url=data.url,
            root=data.root,
            slot=data.slot,
            interface=data.interface,
            force=data.force,
        )
        return _made(view, "security-profile-changes")

    @get(
        "/v1/charging-stations/{station_id:str}/security-profile-changes",
        tags=["security"],
        opt={"scope": Scope.STATIONS_READ, "sorts": CREDENTIAL_CHANGE_SORTS},
    )
    async def list_security_profile_changes(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: StateText = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CredentialChangeView]:
        """A station's changes of security profile, newest first."""
        after = begin(request, cursor, sort)
        found = await changes.page(caller_of(request), station_id, ChangeKind.PROFILE, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/security-profile-changes/{id:str}", tags=["security"], opt={"scope": Scope.STATIONS_READ})
    async def get_security_profile_change(request: Request[Any, Any, Any], id: FromPath[str]) -> CredentialChangeView:
        """A change of security profile and how far it is."""
        return await changes.one(caller_of(request), ChangeKind.PROFILE, ident_of(_CHANGE, id))

    @post(
        "/v1/security-profile-changes/{id:str}/cancel",
        tags=["security"],
        opt={"scope": Scope.STATIONS_WRITE},
        status_code=200,
    )
    async def cancel_security_profile_change(
        request: Request[Any, Any, Any], id: FromPath[str]
    ) -> CredentialChangeView:
        """Ends a change that waits. 409 where the station has heard of it."""
        return await changes.cancel(caller_of(request), ChangeKind.PROFILE, ident_of(_CHANGE, id))

    return [
        list_installed_certificates,
        install_certificate,
        delete_installed_certificate,
        rotate_password,
        list_password_rotations,
        get_password_rotation,
        cancel_password_rotation,
        change_security_profile,
        list_security_profile_changes,
        get_security_profile_change,
        cancel_security_profile_change,
    ]


def _made(view: CredentialChangeView, noun: str) -> Response[CredentialChangeView]:
    return Response(view, headers={"Location": f"/v1/{noun}/{quote(view.id)}"})
