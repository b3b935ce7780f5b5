"""Security of a virtual station: its own key and certificate, the roots it trusts, its password and its security profile.

A station begins with what it was made with (address, password, TLS of its options). From the first thing that it is given here on it
connects by what it has: the connection profile in use, its roots, its certificate.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import json

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.catalogue import decode_request
from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator import certificates
from chargeplane.simulator.certificates import Named, PrivateKey
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.settings import (
    ISO15118_COUNTRY,
    ISO15118_ORGANIZATION,
    NETWORK_PRIORITY,
    ORGANIZATION,
    SECC_ID,
    SECURITY_PROFILE,
)

if TYPE_CHECKING:
    from cryptography import x509

    from chargeplane.simulator.station import HandshakeError, VirtualStation

_MOST_ROOTS: Final = 20
_ATTEMPTS: Final = 3
"""Failed attempts by a new way before the way before it is taken again (whitepaper A05.FR.08, OCPP 2.0.1 B10.FR.03)."""

_CSMS_ROOT: Final = "CSMSRootCertificate"
_OWN: Final = "ChargingStationCertificate"
V2G_ROOT: Final = "V2GRootCertificate"
COMBINED: Final = "CombinedCertificate"
"""Asked for without naming a use: for the socket and for cars."""
_CURVES: Final[dict[str | None, type[ec.EllipticCurve]]] = {
    "V2GCertificate": ec.SECP256R1,  # ISO 15118-2
    "V2G20Certificate": ec.SECP521R1,  # -20
    COMBINED: ec.SECP256R1,
}
_USES16: Final = {"CentralSystemRootCertificate": _CSMS_ROOT}
_WORDS16: Final = {new: old for old, new in _USES16.items()}


@dataclass(frozen=True)
class Connection:
    """A network connection profile."""

    url: str
    profile: int


@dataclass
class Root:
    """A root certificate that was installed; `use` is a word of the newest OCPP."""

    use: str
    pem: str
    certificate: x509.Certificate


@dataclass
class SecurityState:
    """What a station has.

    Args:
        secure_url: where a 1.6 station connects from security profile 2 on; its own address with wss where None.
        is_rsa: its keys are RSA ones.
        algorithm: by which it lists certificates.
        tls: the only version of TLS it speaks.
        shows_certificate: also in profile 2.
        v2g: chain and key that cars are shown, by their use.
        asked: key and number of a request that is under way, by its use; for its own certificate it is asked_key.
    """

    secure_url: str | None = None
    is_rsa: bool = False
    algorithm: str = "SHA256"
    tls: ssl.TLSVersion | None = None
    shows_certificate: bool = False
    roots: list[Root] = field(default_factory=list)
    chain: str | None = None
    key: PrivateKey | None = None
    asked_key: PrivateKey | None = None
    older: tuple[str, PrivateKey] | None = None
    v2g: dict[str, tuple[str, PrivateKey]] = field(default_factory=dict)
    asked: dict[str, tuple[PrivateKey, int]] = field(default_factory=dict)
    slots: dict[int, Connection] = field(default_factory=dict)
    current: Connection | None = None
    wanted: Connection | None = None
    failures: int = 0
    context: ssl.SSLContext | None = None
    requests: int = 0


def security_of(station: VirtualStation) -> SecurityState:
    """What the station has; from now on it connects by that."""
    state = station.state_of(SecurityState)
    if state.current is None:
        profile = (2 if station.url.startswith("wss:") else 1) if station.password is not None else 0
        if profile == 0 and station.url.startswith("wss:"):
            profile = 3
        state.current = state.slots[1] = Connection(station.url, profile)
        station.settings.put(SECURITY_PROFILE, str(profile))
        station.route = lambda: _route(station)
        station.on_opening = lambda error: _opened(station, error)
    return state


def trust(station: VirtualStation, pem: str, use: str = _CSMS_ROOT) -> None:
    """Installs a root by hand, as a technician would."""
    state = security_of(station)
    state.roots += [Root(use, pem, one) for one in certificates.read_chain(pem)]
    state.context = None


def carry(station: VirtualStation, chain: str, key: PrivateKey) -> None:
    """Gives the station a certificate by hand."""
    state = security_of(station)
    state.chain, state.key, state.context = chain, key, None


def request_certificate(station: VirtualStation, *, use: str | None = None, common_name: str | None = None) -> None:
    """Makes a key and asks for a certificate of it (OCPP 2.0.1 A03; 1.6 security whitepaper)."""
    state = security_of(station)
    body: dict[str, Any]
    if use is not None and use in _CURVES and use != COMBINED:
        body = {"csr": _v2g_request(station, use, common_name)}
    else:
        state.asked_key = certificates.make_key(is_rsa=state.is_rsa and use != COMBINED)
        organization = station.settings.text(ORGANIZATION)
        body = {"csr": certificates.make_request(state.asked_key, common_name or station.station_id, organization)}
    state.requests += 1
    if use is not None and use in state.asked:
        state.asked[use] = (state.asked[use][0], state.requests)
    if station.version is not OcppVersion.V16 and use != COMBINED:
        body["certificateType"] = use or _OWN
    if station.version is OcppVersion.V21:
        body["requestId"] = state.requests
        root = _v2g_root(station)
        if use in _CURVES and root is not None:  # A02.FR.27
            named = certificates.named(root.certificate, [root.certificate], state.algorithm)
            body["hashRootCertificate"] = {
                "hashAlgorithm": named.algorithm,
                "issuerNameHash": named.issuer_name,
                "issuerKeyHash": named.issuer_key,
                "serialNumber": named.serial_number,
            }
    station.send(_draft(station, "SignCertificate", body), first=True)


def _v2g_request(station: VirtualStation, use: str, common_name: str | None) -> str:
    """A request for a certificate that cars are shown: of a key of its own, under the name of the ISO 15118 controller."""
    key = certificates.make_key(curve=_CURVES[use]())
    security_of(station).asked[use] = (key, 0)
    text = station.settings.text
    return certificates.make_request(
        key, common_name or text(SECC_ID), text(ISO15118_ORGANIZATION), text(ISO15118_COUNTRY)
    )


def _v2g_root(station: VirtualStation) -> Root | None:
    """The one V2G root that it has; None also where there are several to choose from."""
    roots = [root for root in security_of(station).roots if root.use == V2G_ROOT]
    return roots[0] if len(roots) == 1 else None


def report_event(station: VirtualStation, kind: str, info: str | None = None) -> None:
    """Tells of a security event (OCPP 2.0.1 A04); kept until it was answered, over lost sockets (A04.FR.02)."""
    body: dict[str, Any] = {"type": kind, "timestamp": rfc3339(station.clock.now())}
    if info is not None:
        body["techInfo"] = info
    station.send(_draft(station, "SecurityEventNotification", body), kept=True)


def _draft(station: VirtualStation, action: str, body: dict[str, Any]) -> Draft:
    request = decode_request(station.version, action, json.encode(body))
    return Draft(action, lambda: request)


# --- connecting -------------------------------------------------------------------------------------------------------


def _ways(station: VirtualStation, state: SecurityState) -> list[Connection]:
    """Connection profiles in the order they are tried."""
    assert state.current is not None
    if station.has(Fault.FALLS_BACK):
        return [state.current]
    if state.wanted is not None:
        return [state.wanted, state.current]
    if station.version is OcppVersion.V16 or station.booted:
        return [state.current]
    # A05.FR.05: after a reboot the first entry of the priority is tried first
    order = [part.strip() for part in station.settings.text(NETWORK_PRIORITY).split(",")]
    known = [state.slots[int(part)] for part in order if part.isdecimal() and int(part) in state.slots]
    return known or [state.current]


def _chosen(station: VirtualStation, state: SecurityState) -> Connection:
    ways = _ways(station, state)
    return ways[(state.failures // _ATTEMPTS) % len(ways)]


def _route(station: VirtualStation) -> Any:
    from chargeplane.simulator.station import Route

    state = security_of(station)
    way = _chosen(station, state)
    context = _context(station, state, way) if way.url.startswith("wss:") else None
    return Route(way.url.rstrip("/"), context, with_password=way.profile != 3)


def _context(station: VirtualStation, state: SecurityState, way: Connection) -> ssl.SSLContext | None:
    roots = [root.certificate for root in state.roots if root.use == _CSMS_ROOT]
    if not roots and station.options.ssl is not None:
        return station.options.ssl
    if state.context is None:
        shows = way.profile == 3 or state.shows_certificate
        state.context = certificates.make_context(
            roots, state.chain if shows else None, state.key if shows else None, tls=state.tls
        )
    return state.context


def _opened(station: VirtualStation, error: HandshakeError | None) -> None:
    state = security_of(station)
    way = _chosen(station, state)
    if error is not None:
        state.failures += 1
        state.context = None
        if state.older is not None and state.failures >= _ATTEMPTS:
            state.chain, state.key = state.older
            state.older = None
            state.failures = 0
            report_event(station, "DiscardedRenewedClientCertificate")
        return
    state.failures = 0
    state.wanted = None
    state.older = None
    if way != state.current:
        state.current = way
        # A05.FR.06: less secure profiles are removed
        state.slots = {slot: one for slot, one in state.slots.items() if one.profile >= way.profile}
        station.settings.put(SECURITY_PROFILE, str(way.profile))
        if station.version is not OcppVersion.V16:
            left = [str(slot) for slot, one in state.slots.items() if one == way]
            left += [str(slot) for slot, one in state.slots.items() if one != way]
            station.settings.put(NETWORK_PRIORITY, ",".join(left))


def _reconnect(station: VirtualStation) -> None:
    station.timers.after(station.options.step_s, station.drop)


def _fit_for(station: VirtualStation, profile: int) -> bool:
    """Whether what a profile needs is there (OCPP 2.0.1 A05.FR.02, FR.03; whitepaper A05.FR.02 to FR.04)."""
    state = security_of(station)
    if profile >= 2 and not any(root.use == _CSMS_ROOT for root in state.roots) and station.options.ssl is None:
        return False
    if profile in (1, 2) and not station.password:
        return False
    return profile != 3 or state.chain is not None


# --- certificates -----------------------------------------------------------------------------------------------------


def _take_certificate(station: VirtualStation, pem: str) -> bool:
    """Takes a certificate of the key that was last asked for, where it is fit (A02.FR.06)."""
    state = security_of(station)
    chain = certificates.read_chain(pem)
    # one that is for Plug & Charge as well leads to a V2G root
    roots = [root.certificate for root in state.roots if root.use in (_CSMS_ROOT, V2G_ROOT)]
    fit = (
        bool(chain)
        and state.asked_key is not None
        and chain[0].public_key() == state.asked_key.public_key()
        and certificates.is_valid(chain[0], station.clock.now())
        and (not roots or certificates.leads_to(chain, roots))
    )
    if not fit or station.has(Fault.REFUSES_CERTIFICATES) or station.has(Fault.REJECTS_ALL):
        state.asked_key = None
        report_event(station, "InvalidChargingStationCertificate")  # A02.FR.07
        return False
    assert state.asked_key is not None
    if state.chain is not None and state.key is not None:
        state.older = (state.chain, state.key)
    state.chain, state.key, state.asked_key, state.context = pem, state.asked_key, None, None
    return True


def _take_v2g(station: VirtualStation, use: str, pem: str, request_id: int | None) -> bool:
    """Takes a certificate for Plug & Charge, where it is fit."""
    state = security_of(station)
    chain = certificates.read_chain(pem)
    key, number = state.asked.pop(use, (None, 0))
    roots = [root.certificate for root in state.roots if root.use == V2G_ROOT]
    fit = (
        bool(chain)
        and key is not None
        and request_id in (None, number)  # 2.1 A02.FR.26
        and chain[0].public_key() == key.public_key()
        and certificates.is_valid(chain[0], station.clock.now())
        and (not roots or certificates.leads_to(chain, roots))
    )
    if not fit or station.has(Fault.REFUSES_CERTIFICATES) or station.has(Fault.REJECTS_ALL):
        report_event(station, "InvalidChargingStationCertificate")
        return False
    assert key is not None
    state.v2g[use] = (pem, key)
    return True


def _signed(
    station: VirtualStation,
    chain: str,
    certificate_type: str | None,
    accepted: Any,
    rejected: Any,
    request_id: int | None = None,
) -> Reply:
    state = security_of(station)
    if certificate_type not in (None, _OWN):
        return Reply(accepted if _take_v2g(station, certificate_type, chain, request_id) else rejected)
    taken = _take_certificate(station, chain)
    if station.has(Fault.CLOSES_ON_CERTIFICATE):
        return Reply(accepted if taken else rejected, station.drop)
    # A02.FR.08: the new one is used at once
    used = state.current is not None and state.current.profile == 3
    return Reply(accepted if taken else rejected, (lambda: _reconnect(station)) if taken and used else None)


def _install(station: VirtualStation, use: str, pem: str) -> str:
    state = security_of(station)
    found = certificates.read_chain(pem)
    if station.has(Fault.REJECTS_ALL) or station.has(Fault.REFUSES_CERTIFICATES) or len(found) != 1:
        return "Rejected"
    if not certificates.is_valid(found[0], station.clock.now()) or len(state.roots) >= _MOST_ROOTS:
        return "Rejected"  # M05.FR.06, FR.07
    if not any(root.use == use and root.certificate == found[0] for root in state.roots):
        state.roots.append(Root(use, pem, found[0]))
        state.context = None
    return "Accepted"


def _listed(station: VirtualStation, uses: set[str] | None) -> list[tuple[str, Named, list[Named]]]:
    """What it has: the use, the certificate, and those above it that came with it."""
    state = security_of(station)
    known = [root.certificate for root in state.roots]
    found: list[tuple[str, Named, list[Named]]] = [
        (root.use, certificates.named(root.certificate, known, state.algorithm), []) for root in state.roots
    ]
    for pem, _ in state.v2g.values():
        chain = certificates.read_chain(pem)
        first, *more = (certificates.named(one, chain + known, state.algorithm) for one in chain)
        found.append(("V2GCertificateChain", first, more))
    return [one for one in found if uses is None or one[0] in uses]


def _delete(station: VirtualStation, wanted: Any) -> str:
    state = security_of(station)
    name = Named(
        str(wanted.hash_algorithm.value),
        wanted.issuer_name_hash.lower(),
        wanted.issuer_key_hash.lower(),
        wanted.serial_number.lower().lstrip("0"),
    )
    if state.chain is not None:
        own = certificates.read_chain(state.chain)
        if certificates.named(own[0], own[1:] + [root.certificate for root in state.roots], name.algorithm) == name:
            return "Failed"  # M04.FR.06
    known = [root.certificate for root in state.roots]
    for root in state.roots:
        if certificates.named(root.certificate, known, name.algorithm) == name:
            if station.has(Fault.REJECTS_ALL):
                return "Failed"
            state.roots.remove(root)
            state.context = None
            return "Accepted"
    return "NotFound"


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _signed16(station: VirtualStation, request: v16.CertificateSignedRequest) -> Reply:
    states = v16.CertificateSignedStatus
    return _signed(
        station,
        request.certificate_chain,
        None,
        v16.CertificateSignedResponse(status=states.ACCEPTED),
        v16.CertificateSignedResponse(status=states.REJECTED),
    )


def _install16(station: VirtualStation, request: v16.InstallCertificateRequest) -> Reply:
    word = request.certificate_type.value
    status = _install(station, _USES16.get(word, word), request.certificate)
    return Reply(v16.InstallCertificateResponse(status=v16.InstallCertificateStatus(status)))


def _list16(station: VirtualStation, request: v16.GetInstalledCertificateIdsRequest) -> Reply:
    word = request.certificate_type.value
    found = _listed(station, {_USES16.get(word, word)})
    if not found:
        return Reply(v16.GetInstalledCertificateIdsResponse(status=v16.GetInstalledCertificateStatus.NOT_FOUND))
    return Reply(
        v16.GetInstalledCertificateIdsResponse(
            status=v16.GetInstalledCertificateStatus.ACCEPTED,
            certificate_hash_data=tuple(
                v16.CertificateHashData(
                    hash_algorithm=v16.HashAlgorithm(name.algorithm),
                    issuer_name_hash=name.issuer_name,
                    issuer_key_hash=name.issuer_key,
                    serial_number=name.serial_number,
                )
                for _, name, _ in found
            ),
        )
    )


def _delete16(station: VirtualStation, request: v16.DeleteCertificateRequest) -> Reply:
    status = _delete(station, request.certificate_hash_data)
    return Reply(v16.DeleteCertificateResponse(status=v16.DeleteCertificateStatus(status)))


def _change16(before: Callable[[VirtualStation, Any], Reply]) -> Callable[[VirtualStation, Any], Reply]:
    statuses = v16.ConfigurationStatus

    def change(station: VirtualStation, request: v16.ChangeConfigurationRequest) -> Reply:
        key = request.key.casefold()
        if key == "authorizationkey" and station.has(Fault.REFUSES_PASSWORDS):
            return Reply(v16.ChangeConfigurationResponse(status=statuses.REJECTED))
        if key == "authorizationkey" and station.has(Fault.LOSES_PASSWORD_ANSWER):
            station.drop()
        if key != "securityprofile":
            return before(station, request)
        state = security_of(station)
        assert state.current is not None
        text = request.value.strip()
        if not (text.isdecimal() and state.current.profile < int(text) <= 3) or station.has(Fault.REJECTS_ALL):
            return Reply(v16.ChangeConfigurationResponse(status=statuses.REJECTED))  # whitepaper A05.FR.01
        if not _fit_for(station, int(text)):
            return Reply(v16.ChangeConfigurationResponse(status=statuses.REJECTED))
        plain = station.url.startswith("ws:") and int(text) >= 2
        url = (state.secure_url or station.url.replace("ws:", "wss:", 1)) if plain else state.current.url
        state.wanted = Connection(url, int(text))
        state.failures = 0
        state.context = None
        return Reply(v16.ChangeConfigurationResponse(status=statuses.ACCEPTED), lambda: _reconnect(station))

    return change


def _trigger16(before: Callable[[VirtualStation, Any], Reply]) -> Callable[[VirtualStation, Any], Reply]:
    def trigger(station: VirtualStation, request: v16.ExtendedTriggerMessageRequest) -> Reply:
        if request.requested_message.value != "SignChargePointCertificate":
            return before(station, request)
        if station.has(Fault.REJECTS_ALL):
            return Reply(v16.ExtendedTriggerMessageResponse(status=v16.TriggerMessageStatus.REJECTED))
        return Reply(
            v16.ExtendedTriggerMessageResponse(status=v16.TriggerMessageStatus.ACCEPTED),
            lambda: request_certificate(station),
        )

    return trigger


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _signed2x(station: VirtualStation, request: Any) -> Reply:
    states = v201.CertificateSignedStatusEnumType
    kind = request.certificate_type
    return _signed(
        station,
        request.certificate_chain,
        None if kind is None else kind.value,
        v201.CertificateSignedResponse(status=states.ACCEPTED),
        v201.CertificateSignedResponse(status=states.REJECTED),
        getattr(request, "request_id", None),
    )


def _install2x(station: VirtualStation, request: Any) -> Reply:
    status = _install(station, request.certificate_type.value, request.certificate)
    return Reply(v201.InstallCertificateResponse(status=v201.InstallCertificateStatusEnumType(status)))


def _list2x(station: VirtualStation, request: Any) -> Reply:
    uses = None if request.certificate_type is None else {use.value for use in request.certificate_type}
    found = _listed(station, uses)
    states = v201.GetInstalledCertificateStatusEnumType
    if not found:
        return Reply(v201.GetInstalledCertificateIdsResponse(status=states.NOT_FOUND))
    v: Any = v201 if station.version is OcppVersion.V201 else v21

    def hashes_of(name: Named) -> Any:
        return v.CertificateHashDataType(
            hash_algorithm=v.HashAlgorithmEnumType(name.algorithm),
            issuer_name_hash=name.issuer_name,
            issuer_key_hash=name.issuer_key,
            serial_number=name.serial_number,
        )

    return Reply(
        v.GetInstalledCertificateIdsResponse(
            status=states.ACCEPTED,
            certificate_hash_data_chain=tuple(
                v.CertificateHashDataChainType(
                    certificate_type=v.GetCertificateIdUseEnumType(use),
                    certificate_hash_data=hashes_of(name),
                    child_certificate_hash_data=tuple(map(hashes_of, below)) or None,
                )
                for use, name, below in found
            ),
        )
    )


def _delete2x(station: VirtualStation, request: Any) -> Reply:
    status = _delete(station, request.certificate_hash_data)
    return Reply(v201.DeleteCertificateResponse(status=v201.DeleteCertificateStatusEnumType(status)))


def _set2x(before: Callable[[VirtualStation, Any], Reply]) -> Callable[[VirtualStation, Any], Reply]:
    def refused(wanted: Any, word: str = "Rejected") -> v201.SetVariableResultType:
        return v201.SetVariableResultType(
            attribute_status=v201.SetVariableStatusEnumType(word),
            component=v201.ComponentType(name=wanted.component.name),
            variable=v201.VariableType(name=wanted.variable.name),
        )

    def change(station: VirtualStation, request: Any) -> Reply:
        for wanted in request.set_variable_data:
            name = wanted.variable.name.casefold()
            bad = (name == "basicauthpassword" and station.has(Fault.REFUSES_PASSWORDS)) or (
                name == "networkconfigurationpriority" and not _may_prefer(station, wanted.attribute_value)
            )
            if bad:
                results = tuple(refused(one) for one in request.set_variable_data)
                return Reply(v201.SetVariablesResponse(set_variable_result=results))
            if name == "basicauthpassword" and station.has(Fault.LOSES_PASSWORD_ANSWER):
                station.drop()
        return before(station, request)

    return change


def _may_prefer(station: VirtualStation, value: str) -> bool:
    """Whether the order of connection profiles may be that (OCPP 2.0.1 A05)."""
    state = security_of(station)
    assert state.current is not None
    for part in value.split(","):
        slot = state.slots.get(int(part)) if part.strip().isdecimal() else None
        if slot is None or slot.profile < state.current.profile or not _fit_for(station, slot.profile):
            return False
    return True


def _network2x(before: Callable[[VirtualStation, Any], Reply]) -> Callable[[VirtualStation, Any], Reply]:
    def write(station: VirtualStation, request: Any) -> Reply:
        state = security_of(station)
        reply = before(station, request)
        told = request.connection_data
        if getattr(reply.result, "status", None) == "Accepted":
            slot = Connection(told.ocpp_csms_url.rstrip("/"), told.security_profile)
            state.slots[request.configuration_slot] = slot
        return reply

    return write


def _trigger2x(before: Callable[[VirtualStation, Any], Reply]) -> Callable[[VirtualStation, Any], Reply]:
    def trigger(station: VirtualStation, request: Any) -> Reply:
        word = request.requested_message.value
        if not word.startswith("Sign") or station.has(Fault.REJECTS_ALL):
            return before(station, request)
        use = word.removeprefix("Sign")
        return Reply(
            v201.TriggerMessageResponse(status=v201.TriggerMessageStatusEnumType.ACCEPTED),
            lambda: request_certificate(station, use=use),
        )

    return trigger


HANDLERS16: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {
    "CertificateSigned": _signed16,
    "DeleteCertificate": _delete16,
    "GetInstalledCertificateIds": _list16,
    "InstallCertificate": _install16,
}
HANDLERS2X: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {
    "CertificateSigned": _signed2x,
    "DeleteCertificate": _delete2x,
    "GetInstalledCertificateIds": _list2x,
    "InstallCertificate": _install2x,
}
WRAPS16: Final = {"ChangeConfiguration": _change16, "ExtendedTriggerMessage": _trigger16}
WRAPS2X: Final = {"SetNetworkProfile": _network2x, "SetVariables": _set2x, "TriggerMessage": _trigger2x}
