"""Drivers, users and their logins: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from chargeplane.app.people import Drivers, DriverTokens, People, Vehicles
from chargeplane.app.people.credentials import Credentials
from chargeplane.app.people.driver_accounts import DriverAccounts
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import Logins
from chargeplane.app.people.passwords import HashingCost, Passwords
from chargeplane.app.people.personal_data import PersonalData
from chargeplane.app.people.post import MailDoor, Post
from chargeplane.app.people.sign_on import SignOn
from chargeplane.app.people.sign_on_providers import SignOnProviders
from chargeplane.app.people.user_accounts import UserAccounts
from chargeplane.app.people.users import Users
from chargeplane.app.pulse import Pulse
from chargeplane.edges.mail import MailFolder, SmtpConfig, SmtpDoor, SmtpSecurity
from chargeplane.edges.oidc import OidcProviders
from chargeplane.edges.outgoing import HttpFetcher
from chargeplane.main.config import Config, Role
from chargeplane.main.subjects import Parts

_LOOK_EVERY_S: Final = 30.0
_SWEEP_EVERY_S: Final = 3600.0
_USUAL_PORTS: Final = {SmtpSecurity.TLS: 465, SmtpSecurity.STARTTLS: 587, SmtpSecurity.NONE: 25}


@dataclass(frozen=True, kw_only=True)
class PeopleParts:
    """What the other parts ask of people, and the routes call."""

    people: People
    drivers: Drivers
    driver_tokens: DriverTokens
    vehicles: Vehicles
    driver_accounts: DriverAccounts
    users: Users
    user_accounts: UserAccounts
    logins: Logins
    guard: Guard
    credentials: Credentials
    sign_on: SignOn
    sign_on_providers: SignOnProviders
    post: Post
    personal_data: PersonalData


async def start_people(parts: Parts) -> PeopleParts:
    """Makes the use cases; on nodes that do jobs, mails go out and cars' addresses are confirmed from now on."""
    config, database = parts.config, parts.database
    hint = parts.outbox.hint
    tokens = DriverTokens(database, parts.secrets, parts.events, hint)
    drivers = Drivers(database, parts.events, hint)
    passwords = Passwords(
        HashingCost(
            memory_kib=config.login.password_memory_kib,
            passes=config.login.password_passes,
            at_once=config.login.passwords_at_once,
        )
    )
    parts.on_stop.append(passwords.close)
    guard = Guard(database, parts.secrets)
    logins = Logins(
        database,
        driver_for=timedelta(days=config.login.driver_days),
        user_for=timedelta(hours=config.login.user_hours),
    )
    post = Post(database, parts.secrets, mail_door(config), parts.outbox)
    link_base = (config.public_url or f"http://localhost:{config.http_port}").rstrip("/")
    credentials = Credentials(database, passwords, guard, post, link_base=link_base)
    if config.role in (Role.ALL, Role.JOBS):

        async def look() -> None:
            await tokens.confirm_seen()

        for pulse in (Pulse("autocharge", _LOOK_EVERY_S, look), Pulse("logins", _SWEEP_EVERY_S, logins.sweep)):
            pulse.start()
            parts.on_stop.append(pulse.stop)
    post.register()
    personal_data = PersonalData(database, parts.secrets, parts.outbox)
    personal_data.register()
    private = config.login.sign_on_private_networks
    asker = HttpFetcher(private_networks=private)
    parts.on_stop.append(asker.close)
    sign_on = SignOn(database, parts.secrets, guard, logins, credentials, OidcProviders(asker, plain_http=private))
    return PeopleParts(
        people=People(database),
        drivers=drivers,
        driver_tokens=tokens,
        vehicles=Vehicles(database, parts.events),
        driver_accounts=DriverAccounts(
            database,
            passwords,
            guard,
            logins,
            credentials,
            drivers,
            registration=config.login.registration,
        ),
        users=Users(database, passwords, credentials),
        user_accounts=UserAccounts(database, parts.secrets, passwords, guard, logins, credentials),
        logins=logins,
        guard=guard,
        credentials=credentials,
        sign_on=sign_on,
        sign_on_providers=SignOnProviders(database, parts.secrets, plain_http=private),
        post=post,
        personal_data=personal_data,
    )


def mail_door(config: Config) -> MailDoor:
    """Where mails go out: a mail server where one is named, else the folder `mail` in the data folder."""
    mail = config.mail
    if mail.smtp_host is None:
        return MailFolder(config.data_path / "mail", mail.sender)
    return SmtpDoor(
        SmtpConfig(
            host=mail.smtp_host,
            port=mail.smtp_port or _USUAL_PORTS[mail.smtp_security],
            security=mail.smtp_security,
            user=mail.smtp_user,
            password=mail.smtp_password,
            sender=mail.sender,
            ca_file=mail.smtp_ca_file,
        )
    )
