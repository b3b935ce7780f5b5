"""What an installation can set: frozen structs, one TOML file, `CHARGEPLANE_*` variables.

A value comes from the variable, else from the file, else from the default that stands here. The variable of a key is its
path in capitals: `http_port` is `CHARGEPLANE_HTTP_PORT`, `ping_interval_s` in `[ocpp]` is `CHARGEPLANE_OCPP_PING_INTERVAL_S`.
The unit is in the name of the key. Only `main/wiring.py` reads the configuration; everything inside gets what it needs as
arguments. `docs/configuration.md` is made from these structs.
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as shapes

from chargeplane.edges.mail.smtp import SmtpSecurity
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.proxies import ProxyHeader, TrustedProxies

PREFIX: Final = "CHARGEPLANE_"
CONFIG_FILE_VARIABLE: Final = "CHARGEPLANE_CONFIG"
_READ_ELSEWHERE: Final = {CONFIG_FILE_VARIABLE, "CHARGEPLANE_URL", "CHARGEPLANE_API_KEY"}
"""Variables that are no keys: they are for the commands that talk to a server (main/cli)."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Days = Annotated[int, Meta(ge=0, le=36_500)]


class Role(enum.StrEnum):
    """Which part of the server a process is."""

    ALL = "all"
    STATIONS = "stations"
    API = "api"
    JOBS = "jobs"


class LogLevel(enum.StrEnum):
    """The least important line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How log lines look."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class OcppConfig(Struct, frozen=True, kw_only=True):
    """The door for charging stations. What `OcppServerConfig` has too is named as there."""

    heartbeat_interval_s: Annotated[
        int, Meta(ge=1, le=86_400, description="Heartbeat interval given to stations when their boot is accepted.")
    ] = 300
    boot_retry_interval_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="When a station whose boot is pending or rejected may try again; up to a quarter later, for each station "
            "by another share.",
        ),
    ] = 60
    trigger_boot_after_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="A station that has connected and sent no BootNotification for so long is asked for one; it is served "
            "all the same. 0 never asks.",
        ),
    ] = 20.0
    ask_by_evidence_after_s: Annotated[
        Seconds,
        Meta(
            description="An OCPP 2.x station whose EVSE has been Available for so long, with its transaction open, is asked "
            "whether it still has it."
        ),
    ] = 30.0
    close_by_evidence_after_s: Annotated[
        Seconds,
        Meta(
            description="The same where the station cannot be asked (1.6) or does not say: so long after, the transaction is "
            "closed with its last known value."
        ),
    ] = 600.0
    seen_flush_s: Annotated[
        Seconds, Meta(description="How often it is written when stations were last heard, their clocks, their repairs.")
    ] = 30.0
    quirks_file: Annotated[
        str | None,
        Meta(
            description="Rules about vendors, models and firmwares (TOML, see repairs.md), beside those of the package."
        ),
    ] = None
    ping_interval_s: Annotated[
        float,
        Meta(ge=0, le=86_400, description="A station that has sent nothing for so long is pinged; 0 never pings."),
    ] = 60.0
    ping_timeout_s: Annotated[
        Seconds, Meta(description="A station that sends nothing for so long after a ping is cut.")
    ] = 30.0
    handshake_timeout_s: Annotated[
        Seconds, Meta(description="From connecting to the end of the WebSocket handshake.")
    ] = 20.0
    close_timeout_s: Annotated[
        Seconds, Meta(description="A station that has not answered a close frame by then is cut.")
    ] = 5.0
    call_timeout_s: Annotated[
        Seconds, Meta(description="How long a station may take to answer a call whose caller sets nothing.")
    ] = 30.0
    max_message_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=16 * 2**20,
            description="Largest message taken, after decompression; a larger one closes with 1009.",
        ),
    ] = 256 * 1024
    write_buffer_bytes: Annotated[
        int, Meta(ge=4096, le=64 * 2**20, description="A station that leaves more than this unread is cut.")
    ] = 1024 * 1024
    max_connections: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Connections one process takes; the next one is answered with 503.")
    ] = 19_000
    max_connections_per_address: Annotated[
        int, Meta(ge=1, le=1_000_000, description="The same for one address; whole sites may stand behind one.")
    ] = 19_000
    failed_attempts_burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Failed handshakes one address may make at once; then 429.")
    ] = 300
    failed_attempts_per_s: Annotated[
        float, Meta(gt=0, le=1_000_000, description="How fast an address gets them back. Successes are never counted.")
    ] = 5.0
    failed_passwords_burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Wrong passwords for one station from one address at once; then 429.")
    ] = 10
    failed_passwords_per_s: Annotated[float, Meta(gt=0, le=1_000_000, description="How fast these are given back.")] = (
        0.2
    )
    max_backlog: Annotated[
        int, Meta(ge=1, le=10_000, description="Unanswered messages of one station at which it is read no further.")
    ] = 32
    rate_limit_per_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1_000_000,
            description="Messages a second from one station while the server is behind; the rest waits.",
        ),
    ] = 50.0
    rate_limit_burst: Annotated[int, Meta(ge=1, le=1_000_000, description="How many of them may come at once.")] = 500
    compression: Annotated[
        bool, Meta(description="Whether permessage-deflate is agreed to when a station offers it.")
    ] = True
    compression_threshold_bytes: Annotated[
        int, Meta(ge=0, le=16 * 2**20, description="Shorter messages are sent uncompressed.")
    ] = 256
    availability_after_boot_s: Annotated[
        Seconds,
        Meta(
            description="So long after a boot the reported statuses are compared with the availability that is wanted."
        ),
    ] = 20.0
    opening_hours_every_s: Annotated[
        Seconds,
        Meta(description="How often it is looked whether stations with opening hours have to open or to close."),
    ] = 10.0
    shutdown_grace_s: Annotated[
        Seconds, Meta(description="How long a stopping server waits for answers under way and for sockets to close.")
    ] = 10.0


class AuthorityKind(enum.StrEnum):
    """Who signs stations' certificates."""

    HOUSE = "house"
    EST = "est"


class TlsConfig(Struct, frozen=True, kw_only=True):
    """TLS for charging stations (security profiles 2 and 3). Files are PEM and are read again when they change."""

    certificate_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="The server's certificate, followed by the intermediate ones. It opens `ocpps_port`.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    key_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Its private key, RSA or EC, without a password.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    second_certificate_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="A certificate of the other kind: with one RSA and one EC every station finds its own.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    second_key_file: (
        Annotated[str, Meta(min_length=1, description="Its private key.", extra={"allowed": "a file's name"})] | None
    ) = None
    client_ca_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Authorities whose certificates stations may show. Without any, profile 3 is refused.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    client_crl_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Revocation lists of these authorities.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    organizations: Annotated[
        str,
        Meta(
            description="Organisations (O) that station certificates may name, separated by commas; without any, all that a "
            "trusted authority certifies.",
            extra={"allowed": "text"},
        ),
    ] = ""
    server_names: Annotated[
        str,
        Meta(
            description="Host names and addresses that stations call the server by, separated by commas. Where no "
            "certificate_file is set, the authority of the house makes a certificate for them.",
            extra={"allowed": "text"},
        ),
    ] = ""
    organization: Annotated[
        str,
        Meta(min_length=1, max_length=64, description="Organisation (O) in what the authority of the house signs."),
    ] = "Chargeplane"
    authority: Annotated[
        AuthorityKind,
        Meta(description="Who signs stations' certificates: the authority of the house, or one that speaks EST."),
    ] = AuthorityKind.HOUSE
    station_certificate_days: Annotated[
        int, Meta(ge=1, le=3650, description="How long a station's certificate from the authority of the house holds.")
    ] = 365
    reload_interval_s: Annotated[Seconds, Meta(description="How often the files are looked at.")] = 10.0


class DeviceModelConfig(Struct, frozen=True, kw_only=True):
    """What is read of stations by itself, and configuration templates."""

    read_after_boot: Annotated[
        bool,
        Meta(
            description="Whether stations are asked after a boot for their variables (a full base report, in 1.6 all keys) where "
            "nothing is known of them or their firmware is another, and for the values of their templates. A station's "
            "setting read_variables overrides it."
        ),
    ] = True
    read_delay_s: Annotated[float, Meta(ge=0, le=86_400, description="Not before so long after the boot.")] = 30.0
    read_spread_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="And at random so much later, so that a storm of boots makes no storm of reports.",
        ),
    ] = 60.0
    read_rate_per_s: Annotated[
        float, Meta(gt=0, le=10_000, description="Stations that a process asks in a second at most.")
    ] = 5.0
    template_check_s: Annotated[
        Seconds, Meta(description="How often all stations of a configuration template are gone through.")
    ] = 900.0
    template_ask_s: Annotated[
        float,
        Meta(
            gt=0,
            le=31_536_000,
            description="A station that was not asked for so long is asked for the values of its templates.",
        ),
    ] = 86_400.0
    template_retry_s: Annotated[
        Seconds,
        Meta(
            description="Wait after the first failed change of a station by a template, doubled with each further one."
        ),
    ] = 300.0


class SecurityConfig(Struct, frozen=True, kw_only=True):
    """Changes of stations' credentials, and the care for their certificates."""

    rotate_passwords_days: Annotated[
        int,
        Meta(
            ge=0,
            le=3650,
            description="Stations' passwords older than that are changed, spread over the tenth of the time before. 0 changes none.",
        ),
    ] = 0
    reconnect_wait_s: Annotated[
        Seconds,
        Meta(
            description="How long a station that took a new password or security profile may take to come in by it, until it is "
            "asked to."
        ),
    ] = 30.0
    certificate_care_s: Annotated[
        Seconds,
        Meta(
            description="How often certificates and passwords are looked at that are to be renewed, or about to expire."
        ),
    ] = 300.0
    station_url: Annotated[
        str,
        Meta(
            pattern="^(wss://.+)?$",
            description="Where stations reach this server by TLS, without their identities, as `wss://csms.example.com:9443/ocpp`: "
            "what they are told when their security profile is raised (OCPP 2.x). From `tls.server_names` where it is empty.",
            extra={"allowed": "an address that begins with `wss://`"},
        ),
    ] = ""


class EstConfig(Struct, frozen=True, kw_only=True):
    """A certificate authority that speaks EST (RFC 7030): `est` for `tls.authority = "est"`, `v2g_est` (ISO 15118-2) and `v2g20_est` (-20)
    for `plug_and_charge.station_authority = "est"`."""

    url: Annotated[
        str,
        Meta(
            pattern="^(https://.+)?$",
            description="`https://HOST[:PORT]`, followed by the authority's label where it has one, or by a path under `/.well-known/` other"
            " than EST's.",
            extra={"allowed": "an address that begins with `https://`"},
        ),
    ] = ""
    ca_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Authorities that lead to the EST server's own certificate; the system's unless set.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    user: Annotated[str, Meta(min_length=1, description="For HTTP Basic.")] | None = None
    password: Annotated[str, Meta(min_length=1, description="For HTTP Basic.", extra={"secret": True})] | None = None
    token: Annotated[str, Meta(min_length=1, description="Bearer token.", extra={"secret": True})] | None = None
    certificate_file: (
        Annotated[
            str,
            Meta(min_length=1, description="A certificate of ours for TLS.", extra={"allowed": "a file's name"}),
        ]
        | None
    ) = None
    key_file: (
        Annotated[str, Meta(min_length=1, description="Its private key.", extra={"allowed": "a file's name"})] | None
    ) = None
    trust_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Authorities that stations' certificates lead to, in place of what the EST server tells.",
                extra={"allowed": "a file's name"},
            ),
        ]
        | None
    ) = None
    timeout_s: Annotated[Seconds, Meta(description="For a whole request.")] = 30.0


class CommitConfig(Struct, frozen=True, kw_only=True):
    """The group commit: what came in during one commit is the next one, up to these bounds."""

    max_rows: Annotated[int, Meta(ge=1, le=1_000_000, description="Messages in one commit.")] = 4_000
    max_bytes: Annotated[int, Meta(ge=65_536, le=2**30, description="Payload bytes in one commit.")] = 8 * 2**20


class ContractPool(enum.StrEnum):
    """Who makes contract certificates for cars."""

    NONE = "none"
    TEST = "test"
    OPEN_PNC = "open_pnc"


class V2gAuthorityKind(enum.StrEnum):
    """Who signs stations' certificates for Plug & Charge."""

    NONE = "none"
    TEST = "test"
    EST = "est"


class PlugAndChargeConfig(Struct, frozen=True, kw_only=True):
    """Plug & Charge (ISO 15118): contracts' certificates, and how they are checked."""

    pool: Annotated[
        ContractPool,
        Meta(
            description="Who makes contract certificates for cars: nobody, the test pool of this server, or a pool with the interface of"
            " Open Plug&Charge.",
            extra={"allowed": "`none`, `test`, `open_pnc`"},
        ),
    ] = ContractPool.NONE
    station_authority: Annotated[
        V2gAuthorityKind,
        Meta(
            description="Who signs the certificates by which cars know stations: nobody, a test hierarchy of this server, or the EST"
            " servers of `v2g_est` (ISO 15118-2) and `v2g20_est` (-20).",
            extra={"allowed": "`none`, `test`, `est`"},
        ),
    ] = V2gAuthorityKind.NONE
    station_certificate_days: Annotated[
        int, Meta(ge=1, le=825, description="How long a certificate of the test hierarchy for a station holds.")
    ] = 90
    ocsp_url: (
        Annotated[
            str,
            Meta(
                min_length=8,
                description="Where stations and servers find the OCSP answers of the test pool and the test hierarchy: this server's"
                " `/ocsp` from outside.",
                extra={"allowed": "an address"},
            ),
        ]
        | None
    ) = None
    accept_unreachable: Annotated[
        bool, Meta(description="Whether a contract's certificate counts as not revoked where nobody can be asked.")
    ] = False
    ask_private_networks: Annotated[
        bool,
        Meta(
            description="Whether OCSP responders and revocation lists may be asked within private networks and on this machine, whose"
            " addresses stations and certificates name."
        ),
    ] = False
    url: Annotated[str, Meta(min_length=8, description="Of the pool, without `/v1`.")] | None = None
    token: Annotated[str, Meta(min_length=1, description="Bearer token for the pool.")] | None = None
    token_url: (
        Annotated[str, Meta(min_length=8, description="Where a token is fetched with client credentials instead.")]
        | None
    ) = None
    client_id: Annotated[str, Meta(min_length=1, description="Of the client credentials.")] | None = None
    client_secret: Annotated[str, Meta(min_length=1, description="Of the client credentials.")] | None = None
    audience: Annotated[str, Meta(min_length=1, description="Of the token, where its server wants one.")] | None = None


class RetentionConfig(Struct, frozen=True, kw_only=True):
    """How many days data are kept. 0 keeps for ever."""

    message_log_days: Annotated[Days, Meta(description="The log of OCPP messages.")] = 30
    meter_values_days: Annotated[
        Days, Meta(description="Meter values as received; the energy of transactions stays without them.")
    ] = 0
    authorization_attempts_days: Annotated[
        Days, Meta(description="Authorisations that stations asked for, and the answers.")
    ] = 400
    notices_days: Annotated[
        Days, Meta(description="Other messages of stations, such as security events and firmware states.")
    ] = 90
    customer_information_days: Annotated[
        Days, Meta(description="What stations told of customers and nobody was shown.")
    ] = 7
    uploads_days: Annotated[Days, Meta(description="Files that stations uploaded.")] = 90
    station_events_days: Annotated[Days, Meta(description="Events that stations told of their variables.")] = 400
    unknown_stations_days: Annotated[
        Days, Meta(description="Stations that tried to connect and are not registered, since their last attempt.")
    ] = 90
    commands_days: Annotated[
        Days,
        Meta(
            description="Commands and raw calls with their answers; one that brought a station its certificate stays as long "
            "as that."
        ),
    ] = 400
    audit_log_days: Annotated[Days, Meta(description="The audit log: who changed what, when and why.")] = 730
    event_streams_days: Annotated[Days, Meta(description="Values of streams of periodic values (OCPP 2.1).")] = 30
    security_events_days: Annotated[
        Days, Meta(description="The security log: what stations reported and what the doors saw.")
    ] = 400
    webhook_events_days: Annotated[
        Days, Meta(description="What webhooks told or were to tell, with their attempts: so long it can be replayed.")
    ] = 30
    roaming_exchanges_days: Annotated[
        Days,
        Meta(description="What went over the wire with roaming partners: so long it can be searched and replayed."),
    ] = 14
    payment_webhooks_days: Annotated[
        Days, Meta(description="What payment providers told by themselves, once it was applied.")
    ] = 400


class AlertsConfig(Struct, frozen=True, kw_only=True):
    """What a person is told of without a station saying so."""

    silent_intervals: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="A station that is connected, or has the setting `permanently_connected`, and was not heard for so many "
            "heartbeat intervals raises an alert; 0 never.",
        ),
    ] = 3
    clock_offset_s: Annotated[
        float, Meta(ge=0, le=31_536_000, description="A station's clock that is off by more raises an alert; 0 never.")
    ] = 300.0
    look_every_s: Annotated[Seconds, Meta(description="How often this is looked for.")] = 60.0


class AgreementsConfig(Struct, frozen=True, kw_only=True):
    """Service agreements."""

    look_every_s: Annotated[
        Seconds,
        Meta(
            description="How often what the clock did to agreements is written, and some of those with limits are looked at; "
            "whoever reads one sees it as of now all the same."
        ),
    ] = 5.0


class WebhooksConfig(Struct, frozen=True, kw_only=True):
    """Telling others what happened."""

    private_networks: Annotated[
        bool,
        Meta(
            description="Whether endpoints may be within private networks and on this machine, and without TLS. Their addresses "
            "come from whoever has a key with `webhooks:write`."
        ),
    ] = False
    timeout_s: Annotated[float, Meta(ge=0.1, le=60, description="How long an endpoint may take to answer.")] = 15.0
    disable_after_days: Annotated[
        int, Meta(ge=1, le=365, description="An endpoint that took nothing for so long is disabled.")
    ] = 5
    max_connections: Annotated[
        int, Meta(ge=8, le=10_000, description="Attempts under way at once, of all endpoints together.")
    ] = 1000


class RoamingConfig(Struct, frozen=True, kw_only=True):
    """Partners by OCPI."""

    public_url: Annotated[
        str | None,
        Meta(
            description="Where partners reach this server, without `/ocpi`; none: `public_url`, else its own address."
        ),
    ] = None
    private_networks: Annotated[
        bool,
        Meta(
            description="Whether partners may be within private networks and on this machine, and without TLS. Their addresses come "
            "from partners."
        ),
    ] = False
    timeout_s: Annotated[float, Meta(ge=0.1, le=120, description="How long a partner may take to answer.")] = 30.0
    page_limit: Annotated[
        int, Meta(ge=1, le=10_000, description="Objects in a page of our lists at most (X-Limit).")
    ] = 1000
    max_body_kib: Annotated[int, Meta(ge=16, le=65_536, description="Size of a request of a partner at most.")] = 4096
    first_pause_s: Annotated[
        float,
        Meta(
            ge=0.05, le=300, description="How long a partner that failed several times in a row is left alone at first."
        ),
    ] = 2.0
    lease_s: Annotated[
        float,
        Meta(
            ge=0.5,
            le=600,
            description="What a node that died was telling a partner, or reading from it, another one takes up after so long.",
        ),
    ] = 10.0
    hub_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=120,
            description="How long a hub waits for whom a message is for, then it answers 4002; less than senders wait, and never more than "
            "timeout_s.",
        ),
    ] = 20.0
    alive_after_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="A hub asks a partner that it has not heard of for so long whether it is alive.",
        ),
    ] = 300.0


class VatConfig(Struct, frozen=True, kw_only=True):
    """Who is asked whether VAT numbers are valid."""

    url: (
        Annotated[
            str,
            Meta(
                min_length=8,
                description="Of a register that speaks as the European Commission's VIES does over REST; by default nobody is asked, and no number is verified.",
                extra={"allowed": "an address, such as `https://ec.europa.eu/taxation_customs/vies/rest-api`"},
            ),
        ]
        | None
    ) = None
    private_networks: Annotated[
        bool, Meta(description="Whether the register may be within private networks and on this machine.")
    ] = False
    look_every_s: Annotated[
        Seconds, Meta(description="How often it is looked for customers' numbers that are to be asked for.")
    ] = 60.0


class BookingsConfig(Struct, frozen=True, kw_only=True):
    """EVSEs booked for an interval; what a tenant wants of them is its own (`/v1/bookings/policy`)."""

    look_every_s: Annotated[
        Seconds,
        Meta(
            description="How often it is looked at whose time has come, which drivers have, and what stations are to be asked."
        ),
    ] = 2.0


class FilesConfig(Struct, frozen=True, kw_only=True):
    """Firmware that stations fetch, and logs that they upload."""

    folder: Annotated[
        str | None,
        Meta(
            description="Where the files are. Several machines need one that all of them see.",
            extra={"default": "`files` in data_dir"},
        ),
    ] = None
    public_url: Annotated[
        Annotated[str, Meta(pattern="^https?://[^/?#]+(/[^?#]*)?$")] | None,
        Meta(
            description="Where stations reach `/files/` through a proxy; else they are given the address of this server.",
            extra={"allowed": "an http or https URL"},
        ),
    ] = None
    https_port: Annotated[
        Port | None,
        Meta(
            description="Port of the files' door with TLS; opened where the stations' door has TLS.",
            extra={"default": "8443; a free one where ocpps_port is 0"},
        ),
    ] = None
    ftp_port: Annotated[
        Port | None,
        Meta(
            description="Port of FTP for stations that know no better; without it there is none.",
            extra={"default": "none"},
        ),
    ] = None
    ftp_passive_ports: Annotated[
        Annotated[str, Meta(pattern=r"^\d{1,5}-\d{1,5}$")] | None,
        Meta(
            description="First and last port for FTP's data, such as `50000-50100`.",
            extra={"default": "free ones", "allowed": "two ports"},
        ),
    ] = None
    ftp_public_host: Annotated[
        str | None,
        Meta(
            description="IPv4 address that stations reach FTP's data ports at.",
            extra={"default": "the one they came to"},
        ),
    ] = None
    max_firmware_mib: Annotated[int, Meta(ge=1, le=65_536, description="Largest firmware that is taken.")] = 1024
    max_upload_mib: Annotated[int, Meta(ge=1, le=65_536, description="Largest file that a station may upload.")] = 256
    upload_valid_h: Annotated[
        float, Meta(gt=0, le=8760, description="How long a one-time address for an upload holds.")
    ] = 24.0
    spare_mib: Annotated[
        int, Meta(ge=0, le=1_000_000, description="No file is taken where the disk would have less left than this.")
    ] = 256


class TransactionsConfig(Struct, frozen=True, kw_only=True):
    """What is asked about open transactions, and which are closed."""

    quiet_s: Annotated[
        Seconds,
        Meta(
            description="Without a message of a transaction, before its station is asked what is missing; "
            "and after the station was away."
        ),
    ] = 60.0
    silent_after_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="Without a message of an open transaction while its station tells other things, before it is "
            "asked about and closed. 0 never.",
        ),
    ] = 86_400.0
    eternal_after_s: Annotated[
        float,
        Meta(
            ge=0, le=315_360_000, description="The longest that a transaction may last; then it is ended. 0 has no end."
        ),
    ] = 2_592_000.0
    look_every_s: Annotated[
        Seconds, Meta(description="How often open transactions are looked at for silence and age.")
    ] = 300.0
    limits_every_s: Annotated[
        Seconds, Meta(description="How often limits of transactions are looked at, and prepaid accounts booked.")
    ] = 2.0


class SessionsConfig(Struct, frozen=True, kw_only=True):
    """Charging sessions: what they cost while they go on, and their CDRs."""

    running_cost_s: Annotated[
        Seconds, Meta(description="Between two ratings of a session that goes on; drivers are shown the cost as often.")
    ] = 60.0
    settle_after_s: Annotated[
        float,
        Meta(
            ge=0,
            le=2_592_000,
            description="How long a session that has ended waits for messages that are missing before its CDR is written; one "
            "that lacks none waits for nothing.",
        ),
    ] = 300.0
    poll_s: Annotated[Seconds, Meta(description="How often it is looked for sessions to which something happened.")] = (
        0.5
    )
    lease_s: Annotated[
        Seconds, Meta(description="What a node that died was looking at is looked at by another one after so long.")
    ] = 120.0


class RoamingOperatorConfig(Struct, frozen=True, kw_only=True):
    """Roaming as operator: partners' drivers at our stations."""

    authorize_timeout_s: Annotated[
        float, Meta(ge=0.1, le=25, description="How long a station waits for partners' word about an id token.")
    ] = 5.0
    authorize_allowed: Annotated[
        bool,
        Meta(
            description="Whether a provider is asked also where its token's whitelist rule leaves it to us (ALLOWED)."
        ),
    ] = False
    session_push_s: Annotated[
        float,
        Meta(ge=0, le=86_400, description="A session that goes on is told to its provider no more often than this."),
    ] = 60.0
    command_timeout_s: Annotated[
        float, Meta(ge=1, le=300, description="How long a station may take for what a partner asks of it.")
    ] = 30.0
    status_look_every_s: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="How often it is looked for changes that no station's message told of."),
    ] = 30.0


class RoamingProviderConfig(Struct, frozen=True, kw_only=True):
    """Roaming as provider: our drivers at partners' stations."""

    tolerance_amount: Annotated[
        float,
        Meta(ge=0, le=1000, description="How far a partner's CDR may be from what its tariff says, in its currency."),
    ] = 0.02
    tolerance_percent: Annotated[
        float, Meta(ge=0, le=100, description="The same in percent of the CDR; the larger of both holds.")
    ] = 0.5
    agreement_required: Annotated[
        bool,
        Meta(description="Whether partners are told that a driver may not charge where no agreement covers the place."),
    ] = False
    full_pull_every_s: Annotated[
        float, Meta(ge=60, le=2_592_000, description="How often everything that partners own is read anew.")
    ] = 86_400.0
    pull_every_s: Annotated[
        float,
        Meta(
            ge=10,
            le=2_592_000,
            description="How often is read what changed at partners that push, in case a push was lost.",
        ),
    ] = 3_600.0


class LocalListsConfig(Struct, frozen=True, kw_only=True):
    """When the local lists of stations are brought up to date."""

    settle_s: Annotated[
        Seconds, Meta(description="After a change or a connection, so that more changes may gather.")
    ] = 10.0
    spread_s: Annotated[
        float,
        Meta(ge=0, le=86_400, description="The longest that a station waits beyond that, chosen by chance."),
    ] = 50.0
    check_every_s: Annotated[Seconds, Meta(description="Every list is compared at least so often.")] = 21_600.0
    retry_s: Annotated[
        Seconds, Meta(description="After an update that failed; doubled with every further failure.")
    ] = 60.0


class MessageLogConfig(Struct, frozen=True, kw_only=True):
    """The log of OCPP messages, which may lose lines and never delays a message."""

    enabled: Annotated[bool, Meta(description="Whether messages are logged at all.")] = True
    queue_limit: Annotated[
        int, Meta(ge=100, le=10_000_000, description="Lines that may wait to be written; more are dropped and counted.")
    ] = 50_000


class MailConfig(Struct, frozen=True, kw_only=True):
    """Mails to drivers and users: into the folder `mail` in the data folder, or to a mail server."""

    smtp_host: Annotated[
        str | None, Meta(description="The mail server. Without one, mails are written as `.eml` files.")
    ] = None
    smtp_port: Annotated[
        int, Meta(ge=0, le=65535, description="Its port; 0: 465 for tls, 587 for starttls, 25 for none.")
    ] = 0
    smtp_security: Annotated[
        SmtpSecurity,
        Meta(description="TLS from the start, STARTTLS, or none, which suits a server on this machine."),
    ] = SmtpSecurity.STARTTLS
    smtp_user: Annotated[str | None, Meta(description="Whom to sign in as; nobody unless given.")] = None
    smtp_password: Annotated[str | None, Meta(description="The password for that.", extra={"secret": True})] = None
    smtp_ca_file: Annotated[
        str | None,
        Meta(description="PEM file of authorities for the mail server's certificate; the system's unless given."),
    ] = None
    sender: Annotated[
        str, Meta(min_length=3, description="Who the mails are from: an address, or `Name <address>`.")
    ] = "Chargeplane <chargeplane@localhost>"


class LoginConfig(Struct, frozen=True, kw_only=True):
    """How drivers and users sign in."""

    password_memory_kib: Annotated[
        int, Meta(ge=8, le=4_194_304, description="Memory that hashing a password takes (argon2id), in KiB.")
    ] = 65_536
    password_passes: Annotated[int, Meta(ge=1, le=100, description="Passes over that memory.")] = 3
    passwords_at_once: Annotated[int, Meta(ge=1, le=64, description="Passwords that are hashed at the same time.")] = 2
    registration: Annotated[bool, Meta(description="Whether drivers may open accounts by themselves.")] = True
    driver_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after the last use for which a driver stays signed in.")
    ] = 90
    user_hours: Annotated[
        int, Meta(ge=1, le=8760, description="Hours after the last use for which a user stays signed in.")
    ] = 12
    sign_on_private_networks: Annotated[
        bool,
        Meta(
            description="Whether providers of identities (OpenID Connect) may be within private networks and on this machine, and "
            "without TLS. Their addresses come from whoever has a key with `users:write`."
        ),
    ] = False


class LogConfig(Struct, frozen=True, kw_only=True):
    """The server's own log, written to standard error."""

    level: Annotated[LogLevel, Meta(description="The least important line that is written.")] = LogLevel.INFO
    format: Annotated[
        LogFormat, Meta(description="JSON lines, or coloured text; auto takes text on a terminal and JSON elsewhere.")
    ] = LogFormat.AUTO


def default_data_dir() -> str:
    """`/var/lib/chargeplane` for root, `$XDG_DATA_HOME/chargeplane` or `~/.local/share/chargeplane` for others."""
    if os.geteuid() == 0:
        return "/var/lib/chargeplane"
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return f"{base}/chargeplane"


class PaymentsConfig(Struct, frozen=True, kw_only=True):
    """Payments, and the door for guests."""

    public_url: (
        Annotated[
            str,
            Meta(
                pattern="^https?://[^ ]+[^/ ]$",
                description="Where guests and payment providers reach REST, without a slash at its end; without it, the address "
                "each guest asked.",
                extra={"allowed": "an address"},
            ),
        ]
        | None
    ) = None
    look_every_s: Annotated[Seconds, Meta(description="How often what is unfinished is looked for and carried on.")] = (
        1.0
    )
    call_timeout_s: Annotated[
        Seconds, Meta(description="How long a payment provider may take to answer; then it is asked again.")
    ] = 20.0
    claim_s: Annotated[
        Seconds,
        Meta(
            description="What a process that died was doing with a payment is taken up by another so long after; above "
            "call_timeout_s."
        ),
    ] = 30.0
    guest_hold: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Held for a guest's session where the tariff names no amount (preauthorize_amount), in whole units of "
            "its currency.",
        ),
    ] = 50
    account_hold: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Held for a session of an account holder whose agreement is paid by card or from a wallet and names no amount "
            "(hold_per_session), in whole units of its currency.",
        ),
    ] = 50
    account_answer_s: Annotated[
        Seconds,
        Meta(
            description="How long a payment provider may take to hold it while the session goes on; then the session is stopped."
        ),
    ] = 30.0
    guest_plug_in_s: Annotated[
        Seconds, Meta(description="How long a guest has to plug in after the station has taken the start.")
    ] = 120.0
    guest_answer_s: Annotated[
        Seconds, Meta(description="How long a station may take to be reached and to answer the start of a guest.")
    ] = 25.0
    guest_look_s: Annotated[
        Seconds, Meta(description="How often the cost of a guest's session is looked at while it goes on.")
    ] = 5.0
    guest_stop_s: Annotated[
        Seconds,
        Meta(
            description="How long it may take from the order to stop until a car takes nothing more; charging ends so much before the "
            "hold is used up."
        ),
    ] = 20.0
    guest_requests_per_minute: Annotated[
        float, Meta(gt=0, le=1_000_000, description="Requests of guests from one address.")
    ] = 240.0
    guest_payments_per_minute: Annotated[
        float, Meta(gt=0, le=1_000_000, description="Payments that guests begin from one address.")
    ] = 10.0
    guest_wrong_per_minute: Annotated[
        float, Meta(gt=0, le=1_000_000, description="Wrong codes and addresses from one address; then it waits.")
    ] = 20.0


class Config(Struct, frozen=True, kw_only=True):
    """Everything an installation can set."""

    bind: Annotated[str, Meta(min_length=1, description="Address that all doors listen on.")] = "0.0.0.0"  # noqa: S104
    http_port: Annotated[Port, Meta(description="REST, health, metrics, web. 0 takes any free port.")] = 8080
    ocpp_port: Annotated[Port, Meta(description="Stations over ws. 0 takes any free port.")] = 9000
    ocpps_port: Annotated[
        Port, Meta(description="Stations over wss; opened only where there is a certificate. 0 takes any free port.")
    ] = 9443
    public_url: Annotated[
        Annotated[str, Meta(pattern="^https?://[^/?#]+(/[^?#]*)?$")] | None,
        Meta(
            description="Where people reach this server: in the QR codes on EVSEs, in pages and mails for drivers.",
            extra={"default": "the address it was asked by", "allowed": "an http or https URL"},
        ),
    ] = None
    data_dir: Annotated[
        str,
        Meta(
            min_length=1,
            description="The embedded database, the installation key and uploads.",
            extra={
                "default": "`/var/lib/chargeplane` as root, else `$XDG_DATA_HOME/chargeplane` (`~/.local/share/chargeplane`)"
            },
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    database_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^postgres(ql)?://",
                description="An own PostgreSQL (`postgresql://user:password@host/database`) in place of the embedded one.",
                extra={"secret": True, "allowed": "an address that begins with `postgresql://`"},
            ),
        ]
        | None
    ) = None
    nats_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^(nats|tls)://",
                description="An own NATS (`nats://host:4222`) for several processes or machines.",
                extra={"secret": True, "allowed": "an address that begins with `nats://` or `tls://`"},
            ),
        ]
        | None
    ) = None
    admin_key: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9._~-]{16,}$",
                description="The first API key, in place of one made and printed at the first start.",
                extra={
                    "secret": True,
                    "allowed": "16 or more URL-safe characters (letters, digits, `-`, `.`, `_`, `~`)",
                },
            ),
        ]
        | None
    ) = None
    secret_key: (
        Annotated[
            str,
            Meta(
                min_length=32,
                description="The installation key that station passwords and stored secrets depend on; by default made at the "
                "first start and kept in a file in `data_dir`, outside of database and dumps. Several are separated by commas, the "
                "newest first.",
                extra={"secret": True},
            ),
        ]
        | None
    ) = None
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses and networks (`10.0.0.0/8`) of reverse proxies before REST and the station ports, separated "
            "by commas. They are believed for whom they connect; nobody else is. Name only proxies that write the header "
            "`proxy_header` themselves.",
            extra={"allowed": "text"},
        ),
    ] = ""
    proxy_header: Annotated[
        ProxyHeader, Meta(description="The header in which these proxies tell for whom they connect.")
    ] = ProxyHeader.X_FORWARDED_FOR
    workers: Annotated[int, Meta(ge=1, le=256, description="Server processes.")] = 1
    role: Annotated[Role, Meta(description="Which part of the server this process is.")] = Role.ALL
    ocpp: OcppConfig = OcppConfig()
    tls: TlsConfig = TlsConfig()
    plug_and_charge: PlugAndChargeConfig = PlugAndChargeConfig()
    device_model: DeviceModelConfig = DeviceModelConfig()
    security: SecurityConfig = SecurityConfig()
    est: EstConfig = EstConfig()
    v2g_est: EstConfig = EstConfig()
    v2g20_est: EstConfig = EstConfig()
    commit: CommitConfig = CommitConfig()
    retention: RetentionConfig = RetentionConfig()
    transactions: TransactionsConfig = TransactionsConfig()
    payments: PaymentsConfig = PaymentsConfig()
    sessions: SessionsConfig = SessionsConfig()
    local_lists: LocalListsConfig = LocalListsConfig()
    message_log: MessageLogConfig = MessageLogConfig()
    files: FilesConfig = FilesConfig()
    alerts: AlertsConfig = AlertsConfig()
    mail: MailConfig = MailConfig()
    login: LoginConfig = LoginConfig()
    agreements: AgreementsConfig = AgreementsConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    bookings: BookingsConfig = BookingsConfig()
    vat: VatConfig = VatConfig()
    roaming_operator: RoamingOperatorConfig = RoamingOperatorConfig()
    roaming_provider: RoamingProviderConfig = RoamingProviderConfig()
    roaming: RoamingConfig = RoamingConfig()
    log: LogConfig = LogConfig()

    def proxies(self) -> TrustedProxies:
        """`trusted_proxies` and `proxy_header`, ready to be asked.

        Raises:
            InvalidInputError: one of them is no network.
        """
        named = [text.strip() for text in self.trusted_proxies.split(",") if text.strip()]
        return TrustedProxies(named, self.proxy_header)

    @property
    def data_path(self) -> Path:
        """`data_dir` as an absolute path, `~` taken as the home directory."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def files_path(self) -> Path:
        """`files.folder` as an absolute path."""
        given = self.files.folder
        return self.data_path / "files" if given is None else Path(given).expanduser().absolute()

    def __repr__(self) -> str:
        """All fields, with dots for those that hold secrets."""
        secret = {key.name for key in known_keys() if key.secret}
        shown = (
            f"{name}={'…' if name in secret and getattr(self, name) is not None else repr(getattr(self, name))}"
            for name in self.__struct_fields__
        )
        return f"Config({', '.join(shown)})"


class Key(Struct, frozen=True, kw_only=True):
    """One thing that can be set.

    Args:
        group: the TOML table, `` for the top level.
        annotation: the type as written in the struct.
        default: the value without file and variable; None where there is none.
        allowed: what may be written, in words.
        default_text: the default in words, where it depends on the machine.
    """

    group: str
    name: str
    annotation: Any
    default: Any
    allowed: str
    description: str
    secret: bool = False
    default_text: str | None = None

    @property
    def path(self) -> str:
        """`ocpp.ping_interval_s`, or the bare name at the top level."""
        return f"{self.group}.{self.name}" if self.group else self.name

    @property
    def variable(self) -> str:
        """The environment variable that overrides the file."""
        return PREFIX + self.path.replace(".", "_").upper()


def _allowed(shape: shapes.Type) -> str:
    """What a value of this shape may be, in words."""
    match shape:
        case shapes.Metadata(type=inner):
            return _allowed(inner)
        case shapes.UnionType(types=types):
            return " or ".join(_allowed(inner) for inner in types if not isinstance(inner, shapes.NoneType))
        case shapes.BoolType():
            return "true or false"
        case shapes.EnumType(cls=cls):
            return ", ".join(f"`{member.value}`" for member in cls)
        case shapes.IntType() | shapes.FloatType():
            kind = "a whole number" if isinstance(shape, shapes.IntType) else "a number"
            bounds = [f"of at least {shape.ge}"] if shape.ge is not None else []
            bounds += [f"above {shape.gt}"] if shape.gt is not None else []
            bounds += [f"up to {shape.le}"] if shape.le is not None else []
            return " ".join([kind, *bounds])
        case shapes.StrType(min_length=min_length, pattern=pattern):
            if pattern is not None:
                return f"text that fits `{pattern}`"
            return f"text of at least {min_length} characters" if min_length and min_length > 1 else "text"
    raise AssertionError(f"no words for {shape}")


def _extras(shape: shapes.Type) -> tuple[str, dict[str, Any]]:
    """Description and extra of a field, wherever in nested annotations they stand."""
    description = ""
    extra: dict[str, Any] = {}
    while True:
        match shape:
            case shapes.Metadata():
                extra = {**(shape.extra or {}), **extra}
                description = description or str((shape.extra_json_schema or {}).get("description", ""))
                shape = shape.type
            case shapes.UnionType(types=types):
                shape = next(inner for inner in types if not isinstance(inner, shapes.NoneType))
            case _:
                return description, extra


def _keys_of(struct: type[Struct], group: str) -> list[Key]:
    found = []
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        annotation = hints[field.name]
        if isinstance(annotation, type) and issubclass(annotation, Struct):
            found += _keys_of(annotation, field.name)
            continue
        shape = shapes.type_info(annotation)
        description, extra = _extras(shape)
        found.append(
            Key(
                group=group,
                name=field.name,
                annotation=annotation,
                default=None if field.default is msgspec.NODEFAULT else field.default,
                allowed=extra.get("allowed") or _allowed(shape),
                description=description,
                secret=bool(extra.get("secret")),
                default_text=extra.get("default"),
            )
        )
    return found


def known_keys() -> list[Key]:
    """Every key, the top level first, in the order they stand in the structs."""
    return sorted(_keys_of(Config, ""), key=lambda key: bool(key.group))


def _convert(key: Key, value: Any, source: str) -> Any:
    """The value as the key's type.

    Args:
        source: where the value stands, for the error: the file, or the variable.
    """
    try:
        return msgspec.convert(value, key.annotation, strict=not source.startswith(PREFIX))
    except msgspec.ValidationError as error:
        shown = "" if key.secret else f" is {value!r}, but"
        where = source if source.startswith(PREFIX) else f"{source}: {key.path}"
        raise InvalidInputError(f"{where}{shown} must be {key.allowed}.", ((key.path, key.allowed),)) from error


def _flatten(document: Mapping[str, Any], source: str, known: Mapping[str, Key]) -> dict[str, Any]:
    """The file's values by path; refuses keys and tables that do not exist."""
    groups = {key.group for key in known.values()} - {""}
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if name in groups:
            if not isinstance(value, dict):
                raise InvalidInputError(f"{source}: {name} must be a table: write [{name}] above its keys.")
            flat |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[name] = value
    for path in flat:
        if path not in known:
            near = difflib.get_close_matches(path, known, n=1)
            hint = f"; perhaps {near[0]} is meant" if near else f"; there are: {', '.join(sorted(known))}"
            raise InvalidInputError(f"{source}: there is no key {path}{hint}.", ((path, "unknown key"),))
    return flat


def load_config(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process.

    Args:
        file: the TOML file; else the one that `CHARGEPLANE_CONFIG` names; else none.
        environ: variables; the process's own where None.
    Raises:
        InvalidInputError: the file is missing or no TOML, a key is unknown, or a value is not allowed. The sentence names
            the file or the variable, the key, and what is allowed.
    """
    environ = os.environ if environ is None else environ
    if file is None and environ.get(CONFIG_FILE_VARIABLE):
        file = Path(environ[CONFIG_FILE_VARIABLE])
    known = {key.path: key for key in known_keys()}
    values: dict[str, Any] = {}
    if file is not None:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInputError(f"{file}: cannot be read ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{file}: is not valid TOML: {error}.") from error
        for path, value in _flatten(document, str(file), known).items():
            values[path] = _convert(known[path], value, str(file))
    for key in known.values():
        text = environ.get(key.variable, "")
        if text:  # set to nothing is not set: what unit files and compose files do with a variable they leave out
            values[key.path] = _convert(key, text, key.variable)
    return _built(values)


def _built(values: Mapping[str, Any]) -> Config:
    """The structs from values by path."""
    top: dict[str, Any] = {}
    for name, annotation in get_type_hints(Config).items():
        if isinstance(annotation, type) and issubclass(annotation, Struct):
            inside = {path[len(name) + 1 :]: value for path, value in values.items() if path.startswith(f"{name}.")}
            top[name] = annotation(**inside)
        elif name in values:
            top[name] = values[name]
    config = Config(**top)
    config.proxies()  # so that a wrong one is told before anything starts
    return config


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """`CHARGEPLANE_*` variables that set nothing, sorted: a misspelt one is worth a warning."""
    environ = os.environ if environ is None else environ
    known = {key.variable for key in known_keys()} | _READ_ELSEWHERE
    return sorted(name for name in environ if re.match(PREFIX, name) and name not in known)
