"""Security of stations, put together: the security log, certificates on stations, changes of credentials, who signs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chargeplane.app.alerts import Alerts
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.certificate_care import CertificateCare
from chargeplane.app.certificates import Certificates
from chargeplane.app.commands import Commands
from chargeplane.app.credential_changes import CredentialChanges
from chargeplane.app.events import EventFeed
from chargeplane.app.installed_certificates import InstalledCertificatesOf
from chargeplane.app.ports import CertificateAuthority, V2gAuthority
from chargeplane.app.reach import Directory, StationReach
from chargeplane.app.reports import Reports
from chargeplane.app.security_events import SecurityEvents
from chargeplane.app.stations import Door
from chargeplane.app.v2g_authority import TestV2gAuthority
from chargeplane.domain.certificates import SigningUse
from chargeplane.domain.security_events import SecurityEventReport
from chargeplane.edges.est import EstAuthority, EstV2gAuthority
from chargeplane.edges.est import EstConfig as EstClient
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.config import AuthorityKind, Config, EstConfig, V2gAuthorityKind
from chargeplane.main.plug_and_charge import ocsp_url
from chargeplane.main.tls import read_files
from chargeplane.store.database import Database
from chargeplane.store.secrets import InstallationKeys


@dataclass(frozen=True, kw_only=True)
class Security:
    """What there is of it."""

    events: SecurityEvents
    installed: InstalledCertificatesOf
    changes: CredentialChanges


def signer_of(config: Config, house: HouseAuthority) -> CertificateAuthority:
    """Who signs stations' certificates.

    Raises:
        InvalidInputError: the EST server is to and has no address, or a file of it cannot be read.
    """
    if config.tls.authority is AuthorityKind.HOUSE:
        return house
    if not config.est.url:
        raise InvalidInputError("tls.authority is est: set est.url too.", (("est.url", "https://HOST[:PORT]"),))
    return _est(config, config.est, "est-authorities.pem")


def v2g_authority_of(config: Config, database: Database, secrets: InstallationKeys) -> V2gAuthority | None:
    """Who signs stations' certificates for Plug & Charge; None where nobody does.

    Raises:
        InvalidInputError: EST servers are to and have no address, or a file of theirs cannot be read.
    """
    settings = config.plug_and_charge
    if settings.station_authority is V2gAuthorityKind.NONE:
        return None
    if settings.station_authority is V2gAuthorityKind.TEST:
        return TestV2gAuthority(
            database,
            secrets,
            organization=config.tls.organization,
            days=settings.station_certificate_days,
            ocsp_url=ocsp_url(config),
        )
    named = {SigningUse.V2G: config.v2g_est, SigningUse.V2G20: config.v2g20_est}
    authorities = {
        use: _est(config, est, f"{use.value.lower()}-authorities.pem") for use, est in named.items() if est.url
    }
    if not authorities:
        raise InvalidInputError(
            "plug_and_charge.station_authority is est: set v2g_est.url or v2g20_est.url too.",
            (("v2g_est.url", "https://HOST[:PORT]"),),
        )
    return EstV2gAuthority(authorities)


def _est(config: Config, est: EstConfig, cache: str) -> EstAuthority:
    return EstAuthority(
        EstClient(
            url=est.url,
            ca_file=est.ca_file,
            user=est.user,
            password=est.password,
            token=est.token,
            certificate_file=est.certificate_file,
            key_file=est.key_file,
            trust_file=est.trust_file,
            cache_file=str(config.data_path / cache),
            timeout_s=est.timeout_s,
        )
    )


def server_roots(config: Config, house: HouseAuthority) -> Callable[[], Awaitable[Sequence[str]]]:
    """PEM of the roots that lead to this server's certificate, as far as they are known: those of the house, or what stands in the
    configured file. The last one is what stations are to be given."""

    async def roots() -> Sequence[str]:
        files = await asyncio.to_thread(read_files, config.tls)
        if files.certificates:
            shown = [one for each in files.certificates for one in x509.load_pem_x509_certificates(each.chain)]
            return [one.public_bytes(serialization.Encoding.PEM).decode() for one in shown if one.subject == one.issuer]
        return await house.roots() if config.tls.server_names.strip() else ()

    return roots


def station_url(config: Config) -> str | None:
    """Where stations reach this server by TLS; None where that is not known."""
    if config.security.station_url:
        return config.security.station_url.rstrip("/")
    name = server_name(config)
    if name is None or not config.ocpps_port:
        return None
    return f"wss://{name}:{config.ocpps_port}/ocpp"


def server_name(config: Config) -> str | None:
    """What stations call this server by; None where nothing says it."""
    names = (part.strip() for part in config.tls.server_names.split(","))
    return next((name for name in names if name), None)


async def start_security(
    *,
    config: Config,
    database: Database,
    secrets: InstallationKeys,
    reach: StationReach,
    directory: Directory,
    door: Door,
    authority: HouseAuthority,
    certificates: Certificates,
    commands: Commands,
    events: EventFeed,
    reports: Reports,
    alerts: Alerts,
    on_stop: list[Callable[[], Awaitable[object]]],
) -> Security:
    """Makes and starts all of it."""
    roots = server_roots(config, authority)
    log = SecurityEvents(database, alerts, events)
    reports.take(SecurityEventReport, log.take)
    door.on_suspicion = log.note
    certificates.security_events = log
    on_stop.append(log.stop)

    installed = InstalledCertificatesOf(database, commands, reach, events, roots)
    on_stop.append(installed.stop)

    async def newest_root() -> str | None:
        found = await roots()
        return found[0] if found else None  # the current one: what the server shows now

    changes = CredentialChanges(
        database,
        directory,
        reach,
        commands,
        secrets,
        log,
        alerts,
        events,
        reconnect_wait_s=config.security.reconnect_wait_s,
        rotate_days=config.security.rotate_passwords_days,
        station_url=station_url(config),
        roots=newest_root,
        rotation_period_s=config.security.certificate_care_s,
    )
    door.on_came_in = changes.came_in
    await changes.start()
    on_stop.append(changes.stop)

    house_signs = config.tls.authority is AuthorityKind.HOUSE
    care = CertificateCare(
        database,
        commands,
        log,
        authority if house_signs or config.tls.server_names.strip() else None,
        period_s=config.security.certificate_care_s,
    )
    certificates.on_rotation = care.look_now
    await care.start()
    on_stop.append(care.stop)
    return Security(events=log, installed=installed, changes=changes)
