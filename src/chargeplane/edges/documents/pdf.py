"""An invoice on A4: PDF/A-3 with the e-invoice inside, a code to pay by where the transfer is in euros, and every session in detail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Final
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos
from segno import QRCode, helpers

from chargeplane.domain.invoicing.model import BookingEvidence, Evidence, InvoiceContent, InvoiceKind, Line, Proof
from chargeplane.domain.invoicing.parties import Issuer
from chargeplane.domain.invoicing.taxes import TaxCategory, profiles
from chargeplane.domain.languages import day, known, money, number, say
from chargeplane.edges.documents.en16931 import merged
from chargeplane.store.queries.invoices import Invoice

_FONT: Final = "SourceSans"
_INK: Final = (28, 32, 40)
_PALE: Final = (110, 118, 130)
_ACCENT: Final = (0, 98, 114)
_RULE: Final = (214, 219, 226)
LEFT: Final = 20.0
"""The left margin, in mm."""
_RIGHT: Final = 190.0
WIDTH: Final = _RIGHT - LEFT
"""Between the margins, in mm."""
_MOST_DETAILS: Final = 1000


@lru_cache(maxsize=1)
def _fonts() -> dict[str, str]:
    folder = files("font_source_sans_pro").joinpath("files")
    return {
        style: str(folder.joinpath(f"SourceSansPro-{name}.ttf")) for style, name in (("", "Regular"), ("B", "Semibold"))
    }


class Sheet(FPDF):
    """A page with the issuer below, and how many there are."""

    def __init__(self, issuer: Issuer | None, number: str, language: str) -> None:
        super().__init__(format="A4", unit="mm", enforce_compliance="PDF/A-3B")
        self._issuer, self._number, self._language = issuer, number, language
        self.set_margins(LEFT, 16, 210 - _RIGHT)
        self.set_auto_page_break(auto=True, margin=32)
        for style, font in _fonts().items():
            self.add_font(_FONT, style, font)

    def write_line(
        self,
        text: str,
        *,
        size: float = 9.5,
        bold: bool = False,
        pale: bool = False,
        align: str = "L",
        width: float = 0,
    ) -> None:
        """A line, or several where it is long."""
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(*(_PALE if pale else _INK))
        self.multi_cell(
            width or _RIGHT - self.get_x(), size * 0.46, _clean(text), align=align, new_x=XPos.LEFT, new_y=YPos.NEXT
        )

    def height_of(self, text: str, *, size: float, width: float) -> float:
        """How high a text is, in mm."""
        self.set_font(_FONT, "", size)
        found = self.multi_cell(width, size * 0.46, _clean(text), dry_run=True, output=MethodReturnValue.HEIGHT)
        return float(found)  # type: ignore[arg-type]

    def rule(self) -> None:
        """A thin line over the page."""
        self.set_draw_color(*_RULE)
        self.set_line_width(0.2)
        self.line(LEFT, self.get_y(), _RIGHT, self.get_y())

    def footer(self) -> None:
        """Who the issuer is, and the page's number."""
        issuer = self._issuer
        self.set_y(-26)
        self.rule()
        self.set_y(-24)
        language = self._language
        if issuer is not None:
            self._issued_by(issuer, language)
        self.set_font(_FONT, "", 7)
        self.set_text_color(*_PALE)
        self.set_xy(LEFT, -8)
        pages = say("invoice.page", language, page=str(self.page_no()), pages="{nb}")
        self.cell(WIDTH, 4, f"{self._number}   {pages}", align="R")

    def _issued_by(self, issuer: Issuer, language: str) -> None:
        first = [
            issuer.name,
            *issuer.address.lines,
            f"{issuer.address.postal_code or ''} {issuer.address.city or ''}".strip(),
        ]
        second = [issuer.contact, issuer.phone, issuer.email, issuer.website]
        third = [
            f"{say('invoice.vat_id', language)} {issuer.vat_id}" if issuer.vat_id else None,
            f"{say('invoice.tax_number', language)} {issuer.tax_number}" if issuer.tax_number else None,
            issuer.registration,
            f"{say('invoice.iban', language)} {_grouped(issuer.iban)}" if issuer.iban else None,
        ]
        self.set_font(_FONT, "", 7)
        self.set_text_color(*_PALE)
        columns: tuple[Sequence[str | None], ...] = (first, second, third)
        for column, lines in enumerate(columns):
            self.set_xy(LEFT + column * 58, -24)
            self.multi_cell(56, 3.2, "\n".join(_clean(line) for line in lines if line), align="L")


def pdf(invoice: Invoice, content: InvoiceContent, xml: bytes | None) -> bytes:
    """The document.

    Args:
        xml: the e-invoice, put into the file as Factur-X wants it.
    """
    assert invoice.number is not None
    language = known(content.language)
    page = Sheet(content.issuer, invoice.number, language)
    title = f"{say(f'invoice.{content.kind.value}', language)} {invoice.number}"
    page.set_title(title)
    page.set_author(_clean(content.issuer.name))
    page.set_creator("Chargeplane")
    page.set_lang(language)
    made = invoice.issued_at or datetime.now(UTC)
    page.set_creation_date(made)
    page.set_xmp_metadata(xmp(title, content.issuer.name, made, factur_x=xml is not None))
    if xml is not None:
        page.embed_file(
            bytes=xml,
            basename="factur-x.xml",
            mime_type="text/xml",
            associated_file_relationship="Alternative",
            desc="Factur-X",
            modification_date=made,
            compress=True,
        )
    page.add_page()
    _head(page, invoice, content, title, language)
    _lines(page, content, language)
    _totals(page, invoice, content, language)
    _paying(page, invoice, content, language)
    _sessions(page, content, language)
    _bookings(page, content, language)
    return bytes(page.output())


def _head(page: Sheet, invoice: Invoice, content: InvoiceContent, title: str, language: str) -> None:
    issuer, customer = content.issuer, content.customer
    # The place of a logo: the initial in the house's colour.
    page.set_fill_color(*_ACCENT)
    page.rect(LEFT, 15, 11, 11, style="F", round_corners=True, corner_radius=2)
    page.set_xy(LEFT, 15)
    page.set_font(_FONT, "B", 17)
    page.set_text_color(255, 255, 255)
    page.cell(11, 11, _clean(issuer.name)[:1].upper(), align="C")
    page.set_xy(LEFT + 14, 16.5)
    page.write_line(issuer.name, size=13, bold=True)
    page.set_xy(LEFT, 42)
    back = ", ".join(
        part
        for part in (
            issuer.name,
            *issuer.address.lines,
            f"{issuer.address.postal_code or ''} {issuer.address.city or ''}".strip(),
        )
        if part
    )
    page.write_line(back, size=7, pale=True, width=85)
    address = customer.address
    lines = [customer.name]
    if address is not None:
        lines += [*address.lines, f"{address.postal_code or ''} {address.city or ''}".strip()]
        if address.country != issuer.address.country:  # within a country it is not written
            lines.append(address.country)
    page.set_x(LEFT)
    for line in lines:
        if line:
            page.write_line(line, size=10.5, width=85)
    below = page.get_y()
    facts = [
        ("number", invoice.number),
        ("issued_on", _day(invoice.issued_on, language)),
        ("due_on", _day(invoice.due_on, language) if content.kind is InvoiceKind.INVOICE else None),
        ("period", _days(content.since, content.until, language)),
        ("agreement", content.agreement),
        ("customer_number", content.reference),
        ("vat_id", customer.vat_id),
    ]
    y = 42.0
    for key, value in facts:
        if value:
            page.set_xy(122, y)
            page.write_line(say(f"invoice.{key}", language), size=8.5, pale=True, width=28)
            page.set_xy(150, y)
            page.write_line(value, size=8.5, width=40)
            y = max(y + 4.6, page.get_y() + 0.6)
    page.set_xy(LEFT, max(84.0, y + 4, page.get_y() + 6, below + 6))
    page.write_line(title, size=18, bold=True)
    page.ln(1)
    if content.credited_number:
        page.write_line(
            say(
                "invoice.credits",
                language,
                number=content.credited_number,
                date=_day(content.credited_on, language) or "",
            ),
            size=9.5,
        )
    if content.reason:
        page.write_line(f"{say('invoice.reason', language)}: {content.reason}", size=9.5)
    page.ln(3)


def _lines(page: Sheet, content: InvoiceContent, language: str) -> None:
    columns = ((8.0, "L"), (96.0, "L"), (16.0, "R"), (22.0, "R"), (28.0, "R"))

    def heading() -> None:
        page.set_font(_FONT, "B", 8)
        page.set_text_color(*_PALE)
        names = ("position", "text", "quantity", "tax", "net")
        page.set_x(LEFT)
        for (width, align), name in zip(columns, names, strict=True):
            page.cell(width, 5, say(f"invoice.{name}", language), align=align)
        page.ln(5)
        page.rule()

    heading()
    for line in content.lines:
        if page.will_page_break(page.height_of(line.text, size=9, width=columns[1][0]) + 8):
            page.add_page()
            heading()
        _line(page, line, content.currency, columns, language)


def _line(page: Sheet, line: Line, currency: str, columns: Sequence[tuple[float, str]], language: str) -> None:
    top = page.get_y() + 1
    cells = (
        str(line.number),
        None,
        number(line.quantity, language),
        f"{number(line.tax.percent, language)} %" if line.tax.category is not TaxCategory.NOT_SUBJECT else "–",
        money(line.net, currency, language),
    )
    x = LEFT
    page.set_font(_FONT, "", 9)
    page.set_text_color(*_INK)
    for (width, align), cell in zip(columns, cells, strict=True):
        if cell is not None:
            page.set_xy(x, top)
            page.cell(width, 4.4, cell, align=align)
        x += width
    page.set_xy(LEFT + columns[0][0], top)
    page.write_line(line.text, size=9, width=columns[1][0])
    under = _under(line, language)
    if under:
        page.set_x(LEFT + columns[0][0])
        page.write_line(under, size=7.5, pale=True, width=columns[1][0])
    page.set_xy(LEFT, page.get_y() + 1)
    page.rule()


def _under(line: Line, language: str) -> str:
    if line.evidence is not None:
        evidence = line.evidence
        return f"{_span(evidence, language)} · {evidence.evse}"
    if line.booking is not None:
        return f"{_span(line.booking, language)} · {line.booking.evse}"
    if line.since is not None and line.until is not None and line.until > line.since:
        # The end of a period does not belong to it.
        return _days(line.since.date(), (line.until - timedelta(microseconds=1)).date(), language) or ""
    return ""


def _totals(page: Sheet, invoice: Invoice, content: InvoiceContent, language: str) -> None:
    if page.will_page_break(14 + 6 * len(content.taxes)):
        page.add_page()
    page.ln(3)
    rows = [(say("invoice.total_net", language), money(content.net, content.currency, language), False)]
    home = content.issuer.address.country
    for category, percent, base, owed, _ in merged(content.taxes):
        places = {
            one.tax.place[:2] for one in content.taxes if (one.tax.category, one.tax.percent) == (category, percent)
        }
        profile = profiles().get(places.pop() if len(places) == 1 else home)
        rows.append(
            (
                say(
                    "invoice.tax_line",
                    language,
                    tax=profile.tax if profile is not None else say("invoice.tax", language),
                    percent=number(percent, language),
                    base=money(base, content.currency, language),
                ),
                money(owed, content.currency, language),
                False,
            )
        )
    rows.append((say("invoice.total", language), money(content.gross, content.currency, language), True))
    for label, value, bold in rows:
        if bold:
            page.set_draw_color(*_INK)
            page.set_line_width(0.4)
            page.line(105, page.get_y(), _RIGHT, page.get_y())
            page.ln(1)
        page.set_font(_FONT, "B" if bold else "", 12 if bold else 9.5)
        page.set_text_color(*_INK)
        page.set_x(105)
        page.cell(55, 6, label)
        page.cell(30, 6, value, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(2)
    for note in content.notes:
        reason = next((one.tax.reason for one in content.taxes if one.tax.note == note and one.tax.reason), None)
        page.write_line(reason if note == "exempt" and reason else say(f"invoice.{note}", language), size=9, bold=True)


def _paying(page: Sheet, invoice: Invoice, content: InvoiceContent, language: str) -> None:
    assert invoice.number is not None
    page.ln(2)
    owed = invoice.standing.open
    if content.kind is InvoiceKind.CREDIT_NOTE:
        amount = money(content.gross, content.currency, language)
        page.write_line(say("invoice.pay_back", language, amount=amount), size=9.5)
        return
    if content.kind is InvoiceKind.RECEIPT or content.method != "transfer":
        page.write_line(say("invoice.by_card", language), size=9.5)
        return
    if content.gross <= 0:
        return
    if owed <= 0:
        if invoice.paid > 0:
            page.write_line(say("invoice.is_paid", language), size=9.5)
        return
    code = _epc(content, owed, invoice.number)
    if page.will_page_break(34):
        page.add_page()
    top = page.get_y()
    said = say(
        "invoice.pay_until",
        language,
        amount=money(owed, content.currency, language),
        due=_day(invoice.due_on, language) or "",
        number=invoice.number,
    )
    page.write_line(said, size=9.5, width=120)
    if content.issuer.iban:
        page.write_line(f"{say('invoice.iban', language)}  {_grouped(content.issuer.iban)}", size=9.5, width=120)
    if content.issuer.bic:
        page.write_line(f"{say('invoice.bic', language)}  {content.issuer.bic}", size=9.5, width=120)
    if code is not None:
        _draw_code(page, code, _RIGHT - 27, top, 27)
        page.set_xy(_RIGHT - 40, top + 27.5)
        page.write_line(say("invoice.scan_to_pay", language), size=7, pale=True, align="R", width=40)
        page.set_xy(LEFT, top + 32)


def _epc(content: InvoiceContent, amount: Decimal, reference: str) -> QRCode | None:
    """The code of the European Payments Council (EPC069-12); None where it is not for transfers in euros."""
    issuer = content.issuer
    if content.currency != "EUR" or issuer.iban is None or not Decimal("0.01") <= amount <= Decimal("999999999.99"):
        return None
    name = (issuer.account_name or issuer.name)[:70]
    return helpers.make_epc_qr(
        name=name, iban=issuer.iban, amount=amount, text=reference[:140], bic=issuer.bic, encoding="utf-8"
    )


def _draw_code(page: Sheet, code: QRCode, x: float, y: float, size: float) -> None:
    rows = list(code.matrix_iter(border=2))
    module = size / len(rows)
    page.set_fill_color(0, 0, 0)
    for line, row in enumerate(rows):
        start = None
        for column, dark in enumerate([*row, 0]):
            if dark and start is None:
                start = column
            elif not dark and start is not None:
                page.rect(x + start * module, y + line * module, (column - start) * module, module, style="F")
                start = None


def _sessions(page: Sheet, content: InvoiceContent, language: str) -> None:
    found = [(line, line.evidence) for line in content.lines if line.evidence is not None][:_MOST_DETAILS]
    if not found:
        return
    page.ln(6)
    if page.will_page_break(40):
        page.add_page()
    page.set_x(LEFT)
    page.write_line(say("invoice.sessions", language), size=13, bold=True)
    page.ln(1)
    for line, evidence in found:
        if page.will_page_break(22 + 3.8 * len(evidence.explanation)):
            page.add_page()
        page.rule()
        page.ln(1.5)
        page.set_x(LEFT)
        page.write_line(f"{line.number}   {_span(evidence, language)}   {evidence.place}", size=9, bold=True)
        where = ", ".join(part for part in (evidence.address, evidence.evse) if part)
        what = [
            f"{number(evidence.energy_kwh, language, 3)} kWh",
            *([f"{say('invoice.tariff', language)} {evidence.tariff}"] if evidence.tariff else []),
            f"{say('invoice.record', language)} {evidence.cdr_id} ({evidence.session_id})",
        ]
        for text in (where, "  ·  ".join(what)):
            page.set_x(LEFT + 6)
            page.write_line(text, size=8, pale=True)
        for text in evidence.explanation:
            page.set_x(LEFT + 6)
            page.write_line(f"– {text}", size=8)
        if evidence.proof is not None:
            page.set_x(LEFT + 6)
            page.write_line(_proof(evidence, language), size=8, bold=evidence.proof is Proof.PROVEN)
        page.set_x(LEFT)
        page.ln(1.5)


def _bookings(page: Sheet, content: InvoiceContent, language: str) -> None:
    found = [(line, line.booking) for line in content.lines if line.booking is not None][:_MOST_DETAILS]
    if not found:
        return
    page.ln(6)
    if page.will_page_break(30):
        page.add_page()
    page.set_x(LEFT)
    page.write_line(say("invoice.bookings", language), size=13, bold=True)
    page.ln(1)
    for line, booking in found:
        if page.will_page_break(16 + 3.6 * len(booking.explanation)):
            page.add_page()
        page.rule()
        page.ln(1.5)
        page.set_x(LEFT)
        page.write_line(f"{line.number}   {_span(booking, language)}   {booking.place}", size=9.5, bold=True)
        page.set_x(LEFT + 24)
        page.write_line(f"{say('invoice.booked', language)} {booking.booking_id} · {booking.evse}", size=8)
        for text in booking.explanation:
            page.set_x(LEFT + 24)
            page.write_line(f"– {text}", size=8)
        page.set_x(LEFT)
        page.ln(1.5)


def _proof(evidence: Evidence, language: str) -> str:
    mark = "[✓] " if evidence.proof is Proof.PROVEN else ""
    said = say(f"invoice.{'proven' if evidence.proof is Proof.PROVEN else 'unproven'}", language)
    if evidence.register_begin_wh is not None and evidence.register_end_wh is not None:
        said += ". " + say(
            "invoice.register",
            language,
            begin=number(evidence.register_begin_wh / 1000, language, 3),
            end=number(evidence.register_end_wh / 1000, language, 3),
        )
    return mark + said


def _span(evidence: Evidence | BookingEvidence, language: str) -> str:
    zone = ZoneInfo(evidence.time_zone)
    if isinstance(evidence, Evidence):
        start, end = evidence.started_at.astimezone(zone), evidence.ended_at.astimezone(zone)
    else:
        start, end = evidence.starts_at.astimezone(zone), evidence.ends_at.astimezone(zone)
    until = f"{end:%H:%M}" if end.date() == start.date() else f"{day(end.date(), language)} {end:%H:%M}"
    return f"{day(start.date(), language)} {start:%H:%M} – {until}"


def _day(value: date | None, language: str) -> str | None:
    return None if value is None else day(value, language)


def _days(first: date | None, last: date | None, language: str) -> str | None:
    if first is None or last is None:
        return None
    return day(first, language) if last <= first else f"{day(first, language)} – {day(last, language)}"


def _grouped(iban: str | None) -> str:
    text = iban or ""
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def _clean(text: str) -> str:
    """Without what a font cannot show: control characters, and letters beyond those that it has."""
    return "".join(char if char in _KNOWN or char == "\n" else "?" for char in text if char >= " " or char == "\n")


class _Known:
    def __contains__(self, char: str) -> bool:
        return ord(char) in _glyphs()


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    found = set(TTFont(_fonts()[""]).getBestCmap() or ())
    return frozenset(found & set(TTFont(_fonts()["B"]).getBestCmap() or ()))


_KNOWN: Final = _Known()

_XMP: Final = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/"><pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:Description>
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title><dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator></rdf:Description>
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:CreatorTool>Chargeplane</xmp:CreatorTool><xmp:CreateDate>{made}</xmp:CreateDate></rdf:Description>
{more}</rdf:RDF></x:xmpmeta>"""

_FACTUR_X: Final = """<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#"><pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema><pdfaSchema:namespaceURI>urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>
<rdf:Description rdf:about="" xmlns:fx="urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"><fx:DocumentType>INVOICE</fx:DocumentType><fx:DocumentFileName>factur-x.xml</fx:DocumentFileName><fx:Version>1.0</fx:Version><fx:ConformanceLevel>EN 16931</fx:ConformanceLevel></rdf:Description>
"""

_PROPERTIES: Final = {
    "DocumentFileName": "Name of the embedded XML file",
    "DocumentType": "INVOICE",
    "Version": "Version of the Factur-X XML schema",
    "ConformanceLevel": "Conformance level of the embedded Factur-X data",
}


def xmp(title: str, author: str, made: datetime, *, factur_x: bool) -> str:
    properties = "".join(
        '<rdf:li rdf:parseType="Resource">'
        f"<pdfaProperty:name>{name}</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType>"
        f"<pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>{words}</pdfaProperty:description>"
        "</rdf:li>"
        for name, words in _PROPERTIES.items()
    )
    return _XMP.format(
        title=escape(title),
        author=escape(author),
        made=made.astimezone(UTC).isoformat(timespec="seconds"),
        more=_FACTUR_X.format(properties=properties) if factur_x else "",
    )
