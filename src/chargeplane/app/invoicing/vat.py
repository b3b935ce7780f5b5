"""VAT numbers are asked for at a register: when a customer's is put, by hand, and again now and then; never while an invoice is made.

What the register said is written down; an invoice takes what is known then. A register that does not answer leaves a number unknown, with the
reason; that it was valid before counts on for as long as an answer is good.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.domain.vat_numbers import VatAnswer, VatCheck, VatOutcome, can_be, normalized
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import vat_checks as queries
from chargeplane.store.queries.audit import audit

log = structlog.get_logger(__name__)
_AT_ONCE: Final = 50
_UNKNOWN_AGAIN: Final = timedelta(hours=1)
NOBODY: Final = "No register of VAT numbers is set up (vat.url)."


class Register(Protocol):
    """Who knows VAT numbers."""

    async def ask(self, vat_id: str) -> VatAnswer:
        """What is known of a normalized number; never raises for a register that is away."""
        ...


class VatChecks:
    """Use cases about VAT numbers.

    Args:
        register: None: every number is unknown.
        good_for: how long an answer counts.
    """

    def __init__(
        self,
        database: Database,
        register: Register | None,
        good_for: timedelta = timedelta(days=30),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._register = register
        self._good_for = good_for
        self._now = now

    async def check(self, caller: Caller, vat_id: str) -> VatCheck:
        """Asks for a number now.

        Raises:
            InvalidInputError: it has not the form of its country.
        """
        if not can_be(vat_id):
            sentence = "Is no VAT number: it has not the form of its country"
            raise InvalidInputError(f"'vat_id': {sentence}.", (("/vat_id", sentence),))
        found = await self._ask(caller.tenant_id, vat_id)
        async with self._database.change() as db:
            await audit(db, caller.tenant_id, actor=caller.actor, action="check", kind="VAT number", ident=found.vat_id)
        return found

    async def one(self, caller: Caller, vat_id: str) -> VatCheck:
        """What was said of a number last.

        Raises:
            NotFoundError: it was never asked for.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, normalized(vat_id))
        if found is None:
            raise NotFoundError("check of VAT number", vat_id[:60])
        return found

    async def look(self) -> None:
        """Asks for what is due, of all tenants; called now and then."""
        if self._register is None:
            return
        now = self._now()
        async with self._database.read() as db:
            due = await queries.due(db, now - self._good_for / 2, now - _UNKNOWN_AGAIN, _AT_ONCE)
        for tenant_id, vat_id in due:
            if can_be(vat_id):
                found = await self._ask(tenant_id, vat_id)
            else:
                answer = VatAnswer(outcome=VatOutcome.INVALID, reason="It has not the form of its country.")
                async with self._database.change() as db:
                    found = await queries.put(db, tenant_id, normalized(vat_id), answer, now)
            if found.outcome is VatOutcome.UNKNOWN:
                log.info("vat_number_unknown", vat_id=found.vat_id, reason=found.reason)

    async def _ask(self, tenant_id: TenantId, vat_id: str) -> VatCheck:
        number = normalized(vat_id)
        said = VatAnswer(outcome=VatOutcome.UNKNOWN, reason=NOBODY)
        if self._register is not None:
            said = await self._register.ask(number)
        async with self._database.change() as db:
            return await queries.put(db, tenant_id, number, said, self._now())
