"""The pages themselves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from chargeplane.app.payments.guests import EvseForGuests, VisitView
from chargeplane.app.payments.ports import TAX, PublicPrice
from chargeplane.domain.payments.visits import Stage
from chargeplane.edges.http.guest.words_of import languages, money, number, words_of
from chargeplane.kernel.money import Money

STYLE: Final = """
:root{color-scheme:light dark;--ink:#0d1f1a;--soft:#5a6f68;--line:#d8e4df;--paper:#fff;--ground:#eff5f2;--lead:#0b7a55;--on:#fff;--bad:#b3261e;--warm:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6f0ec;--soft:#9db3ab;--line:#26382f;--paper:#121d18;--ground:#0a120f;--lead:#2fbf8a;--on:#04140d;--bad:#ff8a80;--warm:#ffc15e}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:17px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:27rem;margin:0 auto;padding:1.1rem 1.1rem 3rem}
header{display:flex;justify-content:space-between;gap:1rem;font-size:.85rem;color:var(--soft);padding:.2rem .2rem 1rem}
header a{color:inherit;margin-left:.2rem;padding:.55rem .4rem;text-decoration:none}header a[aria-current]{color:var(--ink);font-weight:600}
section{background:var(--paper);border:1px solid var(--line);border-radius:1.1rem;padding:1.3rem;margin-bottom:1rem}
h1{font-size:1.55rem;line-height:1.2;letter-spacing:-.02em;margin:0 0 .2rem}h2{font-size:.85rem;font-weight:600;color:var(--soft);margin:0 0 .6rem}
p{margin:.5rem 0}.soft{color:var(--soft)}.small{font-size:.88rem}
.chip{display:inline-flex;align-items:center;gap:.45rem;font-weight:600;font-size:.9rem;margin-top:.7rem}
.chip:before{content:"";width:.65rem;height:.65rem;border-radius:50%;background:var(--lead)}.chip.bad:before{background:var(--bad)}.chip.wait:before{background:var(--warm)}
dl{display:grid;grid-template-columns:1fr auto;gap:.5rem 1rem;margin:0}dt{color:var(--soft)}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums;font-weight:600}
dt.cond{grid-column:1/-1;margin-top:-.5rem;font-size:.82rem}
.big{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:1.1rem 0}.big b{display:block;white-space:nowrap;font-size:1.7rem;letter-spacing:-.03em;line-height:1.1;font-variant-numeric:tabular-nums}
.bar{height:.5rem;border-radius:1rem;background:var(--line);overflow:hidden}.bar i{display:block;height:100%;background:var(--lead)}
label{display:block;font-size:.88rem;color:var(--soft);margin:1rem 0 .3rem}
input{width:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.7rem;padding:.75rem .85rem}
input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--lead);outline-offset:2px}
button,.button{display:block;width:100%;text-align:center;font:inherit;font-weight:650;border:0;border-radius:.85rem;background:var(--lead);color:var(--on);padding:.95rem;margin-top:1.1rem;cursor:pointer;text-decoration:none}
button.quiet,.button.quiet{background:none;border:1px solid var(--line);color:var(--ink)}
@media print{header,form,.noprint{display:none}body{background:#fff}section{border:0;padding:0}}
"""
"""How pages for people look."""

_SCRIPT: Final = """
(function(){var main=document.querySelector("main"),url=main.dataset.watch,stage=main.dataset.stage;
function set(id,text){var at=document.getElementById(id);if(at&&text!=null)at.textContent=text}
function look(){fetch(url,{cache:"no-store"}).then(function(r){if(!r.ok)throw 0;return r.json()}).then(function(v){
if(v.stage!==stage){location.reload();return}
set("energy",v.energy);set("cost",v.cost);var bar=document.getElementById("bar");if(bar&&v.share!=null)bar.style.width=v.share+"%"
}).catch(function(){}).then(function(){setTimeout(look,document.hidden?15000:3000)})}
setTimeout(look,3000)})()
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'; connect-src 'self';"
    " img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""Of every page: nothing from elsewhere, nothing kept, and no address of a visit told to anybody."""

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""As conditions of prices name them."""

_FREE: Final = ("available", "plugged_in")
_WAITING: Final = (Stage.PAYING, Stage.STARTING, Stage.WAITING, Stage.CHARGING, Stage.SETTLING)


class Pages:
    """Makes pages in a language.

    Args:
        path: of the page itself, for its links to the other languages.
    """

    def __init__(self, language: str, path: str) -> None:
        self._language = language
        self._path = path
        self._say = words_of(language)

    def evse(self, found: EvseForGuests, error: str | None = None) -> bytes:
        """What an EVSE costs and whether it is free, with the way to pay."""
        say, place = self._say, found.place
        free = found.status in _FREE
        power = "" if place.power_w is None else f" · {number(Decimal(place.power_w) / 1000, self._language)} kW"
        form = f"""<form method="post" action="{self._link(f"/pay/{quote(place.code)}")}">
<label for="email">{escape(say["email"])}</label>
<input id="email" name="email" type="email" autocomplete="email" inputmode="email" maxlength="254">
<button>{escape(say["pay"])}</button></form>"""
        body = f"""<section><h1>{escape(say["pay_title"])}</h1>
<p class="soft">{escape(place.name)}<br>{escape(place.evse_name or place.evse_uid)}{escape(power)}</p>
<span class="chip{"" if free else " bad"}">{escape(say[found.status])}</span></section>
<section><h2>{escape(say["price"])}</h2>{self._prices(found.price)}
<p class="soft small">{escape(say["hold"].format(amount=self._money(found.price.hold)))}</p>
{f'<p role="alert">{escape(error)}</p>' if error else ""}{form if free else self._closed()}</section>"""
        return self._page(say["pay_title"], body)

    def visit(self, view: VisitView, token: str) -> bytes:
        """How a visit stands."""
        say, stage = self._say, view.stage
        title = say[f"{'stopping' if stage is Stage.CHARGING and view.stop_asked else stage.value}_title"]
        body = f"<section><h1>{escape(title)}</h1>"
        body += (
            f'<p class="soft">{escape(view.place.name)}<br>{escape(view.place.evse_name or view.place.evse_uid)}</p>'
        )
        if stage is Stage.PAYING:
            body += f"<p>{escape(say['paying_text'])}</p>"
            if view.pay_url is not None:
                body += f'<a class="button" href="{escape(view.pay_url)}">{escape(say["to_pay"])}</a>'
            body += self._button(token, "cancel", quiet=True)
        elif stage in (Stage.STARTING, Stage.WAITING):
            body += f"<p>{escape(say[f'{stage.value}_text'])}</p>" + self._button(token, "cancel", quiet=True)
        elif stage is Stage.CHARGING:
            body += self._meter(view)
            if view.stop_reason in ("hold_used_up", "hold_gone"):
                body += f"<p>{escape(say[view.stop_reason])}</p>"
            if not view.stop_asked:
                body += self._button(token, "stop")
        elif stage is Stage.ENDED:
            body += f"<p>{escape(say.get(view.reason or '', ''))}</p>"
            body += (
                f'<a class="button" href="{self._link(f"/pay/{quote(view.place.code)}")}">{escape(say["again"])}</a>'
            )
        else:
            body += self._meter(view)
            body += f'<a class="button" href="{self._link(f"/pay/v/{token}/receipt")}">{escape(say["receipt"])}</a>'
        body += "</section>"
        watch = f"/v1/public/visits/{token}?lang={self._language}" if stage in _WAITING else None
        return self._page(title, body, watch=watch, stage=stage.value)

    def receipt(self, view: VisitView) -> bytes:
        """What was charged and paid."""
        say = self._say
        taxes: list[tuple[str, str]] = []
        rows = [(say["place"], view.place.name), (say["point"], view.place.evse_name or view.place.evse_uid)]
        if view.session_id is not None:
            rows.append((say["session"], view.session_id))
        rows.append((say["payment"], view.payment_id))
        for name, at in (("began", view.started_at), ("ended", view.ended_at)):
            if at is not None:
                rows.append((say[name], self._time(at, view.place.time_zone)))
        if view.energy_wh is not None:
            rows.append((say["energy_used"], f"{self._kwh(view.energy_wh)} kWh"))
        for kind, amount in view.cost_lines:
            shown = self._money(Money(amount=amount, currency=view.hold.currency))
            if kind.startswith(TAX):
                tax = kind.removeprefix(TAX).replace("VAT", say["vat"])
                taxes.append((say["of_which"].format(tax=tax), shown))
            else:
                rows.append((say.get(f"group_{kind}", kind), shown))
        if view.paid is not None:
            rows.append((say["paid"], self._money(view.paid)))
            rows += taxes
        if view.refunded is not None:
            rows.append((say["refunded"], self._money(view.refunded)))
        if view.method is not None:
            rows.append((say["with"], view.method))
        table = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
        body = f"""<section><h1>{escape(say["receipt_title"])}</h1><p></p><dl>{table}</dl>
<p class="soft small noprint">{escape(say["print"])}</p></section>
<section><h2>{escape(say["price"])}</h2>{self._prices(view.price)}</section>"""
        return self._page(say["receipt_title"], body)

    def problem(self, kind: str, why: str | None = None) -> bytes:
        """That something is not there (`missing`), was asked for too often (`slow`) or did not work (`failed`)."""
        text = why if why is not None else self._say[kind]
        title = self._say[f"{kind}_title"]
        back = (
            ""
            if kind == "missing"
            else f'<a class="button quiet" href="{escape(self._link(self._path.removesuffix("/stop")))}">{escape(self._say["again"])}</a>'
        )
        return self._page(title, f"<section><h1>{escape(title)}</h1><p>{escape(text)}</p>{back}</section>")

    def live(self, view: VisitView) -> dict[str, object]:
        """What the page's script shows while it waits."""
        return {
            "stage": view.stage.value,
            "energy": None if view.energy_wh is None else f"{self._kwh(view.energy_wh)} kWh",
            "cost": None if view.cost is None else self._money(view.cost),
            "share": _share(view),
        }

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _meter(self, view: VisitView) -> str:
        say = self._say
        energy = "0" if view.energy_wh is None else self._kwh(view.energy_wh)
        amount = view.paid or view.cost or Money(amount=Decimal(0), currency=view.hold.currency)
        # A driver who has paid is not to read that an amount is held.
        held = self._money(view.held)
        held = say["released"].format(amount=held) if view.paid is not None else f"{held} {say['held']}"
        label = say["paid"] if view.paid is not None else f"{say['cost']} ({say['so_far']})"
        return f"""<div class="big"><div><b id="energy">{escape(energy)} kWh</b><span class="soft small">{escape(say["energy_used"])}</span></div>
<div><b id="cost">{escape(self._money(amount))}</b><span class="soft small">{escape(label)}</span></div></div>
<div class="bar" role="presentation"><i id="bar" style="width:{_share(view)}%"></i></div>
<p class="soft small">{escape(held)}{"" if view.method is None else " · " + escape(view.method)}</p>"""

    def _button(self, token: str, word: str, *, quiet: bool = False) -> str:
        kind = ' class="quiet"' if quiet else ""
        return (
            f'<form method="post" action="{self._link(f"/pay/v/{token}/stop")}"><button{kind}>'
            f"{escape(self._say[word])}</button></form>"
        )

    def _prices(self, price: PublicPrice) -> str:
        rows = ""
        for line in price.lines:
            tax = "" if line.incl_tax else f" {self._say['excl_tax']}"
            amount = money(line.price, self._language, exact=True)
            rows += f"<dt>{escape(self._say[line.kind] + tax)}</dt><dd>{escape(amount)}</dd>"
            if line.condition:
                rows += f'<dt class="cond">{escape(self._condition(line.condition))}</dt>'
        text = price.words.get(self._language)
        if all(line.incl_tax for line in price.lines):
            rows += f'<dt class="cond">{escape(self._say["incl_tax"])}</dt>'
        return f"<dl>{rows}</dl>" + (f"<p>{escape(text)}</p>" if text else "")

    def _condition(self, text: str) -> str:
        """When a price holds, in the page's language."""
        for english, word in zip(_DAYS, self._say["days"].split(), strict=True):
            text = text.replace(english, word)
        return text.replace("> ", f"{self._say['after']} ").replace("< ", f"{self._say['up_to']} ")

    def _closed(self) -> str:
        say = self._say
        return (
            f"<p>{escape(say['not_free'])}</p>"
            f'<a class="button quiet" href="{escape(self._link(self._path))}">{escape(say["look_again"])}</a>'
        )

    def _money(self, amount: Money) -> str:
        return money(amount, self._language)

    def _kwh(self, energy_wh: Decimal) -> str:
        return number((energy_wh / 1000).quantize(Decimal("0.01")), self._language)

    def _time(self, at: datetime, time_zone: str) -> str:
        form = "%d.%m.%Y, %H:%M %Z" if self._language == "de" else "%Y-%m-%d %H:%M %Z"
        return at.astimezone(ZoneInfo(time_zone)).strftime(form)

    def _link(self, path: str) -> str:
        return f"{path}?lang={self._language}"

    def _page(self, title: str, body: str, *, watch: str | None = None, stage: str = "") -> bytes:
        others = "".join(
            f'<a href="{escape(self._path)}?lang={code}" lang="{code}"{" aria-current=true" if code == self._language else ""}>'
            f"{escape(texts['language'])}</a>"
            for code, texts in languages().items()
        )
        attributes = f' data-watch="{escape(watch)}" data-stage="{escape(stage)}"' if watch else ""
        refresh = '<noscript><meta http-equiv="refresh" content="5"></noscript>' if watch else ""
        script = f"<script>{_SCRIPT}</script>" if watch else ""
        return (
            f'<!doctype html><html lang="{self._language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width,initial-scale=1">{refresh}<style>{STYLE}</style></head>'
            f"<body><main{attributes}><header><span></span><nav>{others}</nav></header>{body}</main>{script}</body></html>"
        ).encode()


def mail(public_url: Callable[[], str]) -> Callable[[VisitView, str], tuple[str, str, str]]:
    """Makes the mail with a receipt: subject, text, HTML."""

    def make(view: VisitView, token: str) -> tuple[str, str, str]:
        say, language = words_of(view.language), view.language
        url = f"{public_url()}/pay/v/{token}/receipt?lang={language}"
        amount = money(view.paid or Money(amount=Decimal(0), currency=view.hold.currency), language)
        energy = number(((view.energy_wh or Decimal(0)) / 1000).quantize(Decimal("0.01")), language)
        text = say["mail_text"].format(energy=energy, place=view.place.name, amount=amount, url=url)
        first, _, _ = text.partition("\n")
        html = f'<p>{escape(first)}</p><p><a href="{escape(url)}">{escape(say["receipt"])}</a></p>'
        return say["mail_subject"].format(place=view.place.name), text, html

    return make


def _share(view: VisitView) -> int:
    """Of the hold, in percent."""
    amount = view.paid or view.cost
    if amount is None or view.held.amount <= 0:
        return 0
    return min(100, max(1, int(amount.amount / view.held.amount * 100)))
