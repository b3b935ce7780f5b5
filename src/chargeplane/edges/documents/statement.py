"""A partner's statement as PDF/A-3: what it gets of a period and how each amount comes about."""

from __future__ import annotations

from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from fpdf.enums import XPos, YPos

from chargeplane.domain.invoicing.parties import InvoicingSettings
from chargeplane.domain.languages import known, money, number, say
from chargeplane.domain.settlements.model import SIGN, SettlementKind, Statement, StatementLine, StatementLineKind
from chargeplane.edges.documents.pdf import LEFT, WIDTH, Sheet, xmp
from chargeplane.store.queries.settlements_of_partners import StoredStatement

_AMOUNT: Final = 34.0
_NOTHING: Final = Decimal(0)
_OF_ROAMING: Final = {
    StatementLineKind.OWED_TO_PARTNER: "settlement.owed_to",
    StatementLineKind.OWED_BY_PARTNER: "settlement.owed_by",
    StatementLineKind.DISPUTED: "settlement.disputed",
}


def statement_pdf(stored: StoredStatement, settings: InvoicingSettings) -> bytes:
    """The document."""
    said, language = stored.statement, known(settings.language)
    page = Sheet(settings.issuer, stored.number, language)
    title = f"{say('settlement.statement', language)} {stored.number}"
    page.set_title(title)
    page.set_creator("Chargeplane")
    page.set_lang(language)
    page.set_creation_date(stored.created_at)
    name = "" if settings.issuer is None else settings.issuer.name
    page.set_xmp_metadata(xmp(title, name, stored.created_at, factur_x=False))
    page.add_page()
    page.write_line(title, size=18, bold=True)
    page.ln(2)
    zone = ZoneInfo(said.time_zone)
    since, until = said.period_start.astimezone(zone), said.period_end.astimezone(zone)
    for label, value in (
        (say("settlement.statement_for", language), said.name),
        (say("invoice.agreement", language), said.agreement),
        (say("invoice.period", language), f"{since:%Y-%m-%d %H:%M} – {until:%Y-%m-%d %H:%M}"),
    ):
        page.set_x(LEFT)
        page.write_line(f"{label}: {value}")
    page.ln(4)
    page.rule()
    for line in said.lines:
        _line(page, said, line, language)
    page.ln(2)
    key = "payable" if said.payable >= 0 else "receivable"
    _row(page, say(f"settlement.{key}", language), money(abs(said.payable), said.currency, language), bold=True)
    if said.kind is SettlementKind.SITE_HOST:
        page.ln(3)
        page.set_x(LEFT)
        page.write_line(say("settlement.before_tax", language), size=8, pale=True)
    return bytes(page.output())


def line_text(line: StatementLine, currency: str, language: str) -> str:
    """How a line comes about, in words."""

    def amount(value: Decimal | None) -> str:
        return money(value or _NOTHING, currency, language, exact=True)

    energy = number(line.energy_kwh, language, 3)
    if line.kind is StatementLineKind.REVENUE_SHARE:
        percent = number(line.percent or _NOTHING, language)
        if line.energy_cost is None:
            return say("settlement.share_percent", language, name=line.name, percent=percent, base=amount(line.base))
        return say(
            "settlement.share_margin",
            language,
            name=line.name,
            percent=percent,
            base=amount(line.base),
            revenue=amount(line.revenue),
            cost=amount(line.energy_cost),
        )
    if line.kind in (StatementLineKind.ENERGY_SHARE, StatementLineKind.ENERGY):
        return say("settlement.share_energy", language, name=line.name, energy=energy, price=amount(line.per_kwh))
    return say(
        _OF_ROAMING[line.kind],
        language,
        name=line.name,
        sessions=str(line.sessions),
        energy=energy,
        net=amount(line.revenue),
        tax=amount(line.tax),
    )


def _line(page: Sheet, said: Statement, line: StatementLine, language: str) -> None:
    if page.will_page_break(16):
        page.add_page()
    page.ln(1)
    counted = SIGN[line.kind] * line.amount
    _row(page, line_text(line, said.currency, language), money(counted, said.currency, language))
    if said.kind is SettlementKind.SITE_HOST:
        text = say(
            "settlement.rests_on",
            language,
            sessions=str(line.sessions),
            energy=number(line.energy_kwh, language, 3),
            revenue=money(line.revenue or _NOTHING, said.currency, language),
        )
        if line.revenue is not None:
            page.set_x(LEFT)
            page.write_line(text, size=7.5, pale=True)
    page.rule()


def _row(page: Sheet, text: str, amount: str, *, bold: bool = False) -> None:
    top = page.get_y()
    page.set_xy(LEFT, top)
    page.write_line(text, bold=bold, width=WIDTH - _AMOUNT)
    under = page.get_y()
    page.set_xy(LEFT + WIDTH - _AMOUNT, top)
    page.cell(_AMOUNT, 4.4, amount, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.set_xy(LEFT, max(under, page.get_y()))
