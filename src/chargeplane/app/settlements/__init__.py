"""Settling with partners: statements of site hosts and roaming partners, and the CDRs that partners send."""

from chargeplane.app.settlements.partner_cdrs import NewPartnerCdr
from chargeplane.app.settlements.settlements import STATEMENT_MADE, Settlements, StatementDetails, StatementPainter

__all__ = ["STATEMENT_MADE", "NewPartnerCdr", "Settlements", "StatementDetails", "StatementPainter"]
