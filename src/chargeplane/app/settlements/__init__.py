"""Settling with partners: statements of site hosts and roaming partners, and the CDRs that partners send."""

from chargeplane.app.settlements.settlements import (
    STATEMENT_MADE,
    NewPartnerCdr,
    Settlements,
    StatementDetails,
    StatementPainter,
)

__all__ = ["STATEMENT_MADE", "NewPartnerCdr", "Settlements", "StatementDetails", "StatementPainter"]
