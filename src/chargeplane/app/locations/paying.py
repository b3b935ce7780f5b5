"""Ways to pay, told to the stations that have switches for them.

OCPP 2.x has three: the payment terminal of the station (PaymentCtrlr), paying on the web at an EVSE (WebPaymentsCtrlr, 2.1 C25) and
contracts in vehicles (ISO15118Ctrlr PnCEnabled). A switch of an EVSE follows that EVSE, one of the station all of its EVSEs: it is on while one
of them wants it. Only what a station reported and lets be set is touched, and only where its EVSEs say how one can pay.
"""

from __future__ import annotations

from typing import Final, Protocol

import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.variables import VariableSetting
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import locations as queries

_WANTS: Final = {
    "WebPaymentsCtrlr": {PaymentMethod.WEB.value},
    "ISO15118Ctrlr": {PaymentMethod.PLUG_AND_CHARGE.value},
    "PaymentCtrlr": {
        PaymentMethod.TERMINAL_CREDIT_CARD.value,
        PaymentMethod.TERMINAL_DEBIT_CARD.value,
        PaymentMethod.TERMINAL_CONTACTLESS.value,
    },
}

log = structlog.get_logger(__name__)


class Setting(Protocol):
    """Sets variables of stations."""

    async def ask(self, caller: Caller, station_id: str, settings: list[VariableSetting]) -> object:
        """A change on its way; it waits until the station can be reached."""
        ...


class WaysToPay:
    """Brings switches of stations to what their EVSEs say."""

    def __init__(self, database: Database, variables: Setting) -> None:
        self._database = database
        self._variables = variables

    async def tell(self, caller: Caller, station_key: StationKey, station_id: str) -> int:
        """Asks for what is to be switched; how many switches that are."""
        async with self._database.read() as db:
            methods = await queries.methods_of_station(db, station_key)
            switches = await queries.payment_variables(db, station_key)
        wanted = []
        for switch in switches:
            said = [words for evse_id, words in methods.items() if switch.evse_id in (0, evse_id)]
            if not said:
                continue
            value = "true" if any(_WANTS[switch.component] & set(words) for words in said) else "false"
            if (switch.value or "").lower() != value:
                wanted.append(
                    VariableSetting(
                        component=switch.component,
                        evse_id=switch.evse_id or None,
                        variable=switch.variable,
                        value=value,
                    )
                )
        if not wanted:
            return 0
        try:
            await self._variables.ask(caller, station_id, wanted)
        except ConflictError as error:
            # Too many changes wait: the EVSE is described all the same, and the next description tells the station.
            log.warning("ways to pay were not told", station_id=station_id, reason=str(error))
            return 0
        return len(wanted)
