"""Plug & Charge as configured: the pool of contracts, and who is asked about certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chargeplane.app.ev_pool import EvPool
from chargeplane.app.house import Desk
from chargeplane.app.plug_and_charge import ContractProvider, PlugAndCharge
from chargeplane.app.revocation import RevocationChecks
from chargeplane.edges.outgoing import HttpFetcher
from chargeplane.edges.outgoing.open_pnc import OpenPnc, OpenPncConfig
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.config import Config, ContractPool
from chargeplane.store.database import Database
from chargeplane.store.secrets import InstallationKeys


def ocsp_url(config: Config) -> str:
    """Where answers about the test pool's certificates and the test hierarchy's are found."""
    return config.plug_and_charge.ocsp_url or f"http://127.0.0.1:{config.http_port}/ocsp"


def start_plug_and_charge(
    config: Config,
    database: Database,
    secrets: InstallationKeys,
    desks: dict[type, Desk],
    on_stop: list[Callable[[], Awaitable[object]]],
) -> tuple[PlugAndCharge, EvPool | None]:
    """The use cases, and the test pool where it is used.

    Raises:
        InvalidInputError: the settings do not fit together.
    """
    settings = config.plug_and_charge
    fetcher = HttpFetcher(private_networks=settings.ask_private_networks)
    on_stop.append(fetcher.close)
    pool: EvPool | None = None
    provider: ContractProvider | None = None
    if settings.pool is ContractPool.TEST:
        provider = pool = EvPool(database, secrets, ocsp_url(config))
    elif settings.pool is ContractPool.OPEN_PNC:
        if settings.url is None:
            raise InvalidInputError(
                "plug_and_charge.pool is open_pnc and plug_and_charge.url says not where it is.",
                (("plug_and_charge.url", "the pool's address"),),
            )
        client = OpenPnc(
            OpenPncConfig(
                url=settings.url,
                token=settings.token,
                token_url=settings.token_url,
                client_id=settings.client_id,
                client_secret=settings.client_secret,
                audience=settings.audience,
            )
        )
        on_stop.append(client.close)
        provider = client
    use_cases = PlugAndCharge(
        database, RevocationChecks(fetcher), provider, unreachable_is_good=settings.accept_unreachable
    )
    use_cases.register(desks)
    return use_cases, pool
