"""What was charged under agreements, as their usage shows it."""

from __future__ import annotations

from datetime import datetime

from chargeplane.app.agreements.ports import Charged
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import MoneyView
from chargeplane.store.queries import cdrs
from chargeplane.store.queries.paging import Db


class ChargesOfAgreements:
    """Implements `Charges` of agreements."""

    async def charged(
        self, db: Db, tenant_id: TenantId, agreement_id: int, since: datetime, until: datetime
    ) -> list[Charged]:
        """The sums by currency of CDRs whose sessions ended in an interval."""
        return [
            Charged(
                sessions=sessions,
                excl_tax=MoneyView(amount=f"{excl:f}", currency=currency),
                incl_tax=MoneyView(amount=f"{incl:f}", currency=currency),
            )
            for currency, sessions, excl, incl in await cdrs.sums(db, tenant_id, agreement_id, since, until)
        ]
