"""The pages a payer sees at the simulated provider: plain HTML, no scripts."""

from __future__ import annotations

from html import escape
from typing import Final

from chargeplane.simulator.payments.book import CARDS, SECOND_FACTOR_CODE, Card, Intent, Status

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#10212b;--soft:#5b6b75;--line:#d9e1e6;--paper:#fff;--ground:#eef3f6;--lead:#4338ca;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eef2;--soft:#9fb0bb;--line:#2c3b45;--paper:#15212a;--ground:#0c141a;--lead:#8b83ff;--bad:#ff8a7a}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:26rem;margin:0 auto;padding:1.25rem}
.bar{display:flex;gap:.5rem;align-items:center;color:var(--soft);font-size:.9rem;margin:.5rem 0 1rem}
.bar b{background:var(--lead);color:#fff;border-radius:.4rem;padding:.1rem .5rem;font-weight:600}
section{background:var(--paper);border:1px solid var(--line);border-radius:1rem;padding:1.25rem;margin-bottom:1rem}
h1{font-size:1rem;font-weight:500;color:var(--soft);margin:0}
.sum{font-size:2.2rem;font-weight:650;letter-spacing:-.02em;margin:.1rem 0 .25rem}
label{display:block;font-size:.85rem;color:var(--soft);margin:.9rem 0 .25rem}
input{width:100%;font:inherit;padding:.7rem .8rem;border:1px solid var(--line);border-radius:.6rem;background:transparent;color:inherit}
input:focus{outline:2px solid var(--lead);border-color:transparent}
.two{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
button{width:100%;font:inherit;font-weight:600;padding:.85rem;border:0;border-radius:.7rem;background:var(--lead);color:#fff;margin-top:1.1rem;cursor:pointer}
button.plain{background:none;color:var(--soft);font-weight:500;margin-top:.4rem}
.error{color:var(--bad);margin:.9rem 0 0}
table{width:100%;border-collapse:collapse;font-size:.85rem}td{padding:.3rem 0;border-top:1px solid var(--line)}td:last-child{text-align:right;color:var(--soft)}
code{font-family:ui-monospace,monospace}
"""

_ERRORS: Final = {
    "card_declined": "The card was declined.",
    "insufficient_funds": "There is not enough money on the card.",
    "expired_card": "The card has expired.",
    "authentication_failed": "That was not the code.",
}

_DOES: Final = {
    Card.GOOD: "is taken",
    Card.SECOND_FACTOR: "asks for a code",
    Card.DECLINED: "is declined",
    Card.NO_FUNDS: "has no money",
    Card.EXPIRED: "has expired",
    Card.CAPTURE_FAILS: "holds, but refuses the capture",
    Card.DISPUTED: "is disputed afterwards",
    Card.NO_INCREMENT: "holds no more than at first",
    Card.SHORT_HOLD: "holds for a minute",
    Card.DECLINED_LATER: "is taken, and declined when it is charged later",
}


def page(title: str, body: str) -> bytes:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>"
        '<p class="bar"><b>PaySim</b> Simulated payments: no money moves</p>'
        f"{body}</main></body></html>"
    ).encode()


def _head(intent: Intent) -> str:
    return f"<h1>{escape(intent.description)}</h1><p class=sum>{intent.amount:f} {escape(intent.currency)}</p>"


def card_page(intent: Intent, error: str | None = None) -> bytes:
    """Where the payer gives a card."""
    said = error or _ERRORS.get(intent.error or "")
    cards = "".join(
        f"<tr><td><code>{number}</code></td><td>{_DOES[card]}</td></tr>" for number, (card, _) in CARDS.items()
    )
    body = f"""<section>{_head(intent)}
<form method="post" autocomplete="off">
<label for="number">Card number</label>
<input id="number" name="number" inputmode="numeric" maxlength="23" required placeholder="4242 4242 4242 4242">
<div class="two"><div><label for="expiry">Expiry</label><input id="expiry" name="expiry" maxlength="7" placeholder="12 / 34"></div>
<div><label for="cvc">CVC</label><input id="cvc" name="cvc" inputmode="numeric" maxlength="4" placeholder="123"></div></div>
{f'<p class="error" role="alert">{escape(said)}</p>' if said else ""}
<button name="do" value="pay">Hold {intent.amount:f} {escape(intent.currency)}</button>
</form>
<form method="post"><button class="plain" name="do" value="cancel">Go back without paying</button></form></section>
<section><h1>Test cards</h1><table>{cards}</table></section>"""
    return page("Pay", body)


def factor_page(intent: Intent) -> bytes:
    """Where the payer gives the second factor (3-D Secure)."""
    said = _ERRORS.get(intent.error or "")
    body = f"""<section>{_head(intent)}
<p>Your bank asks whether it is you. In this simulation the code is <code>{SECOND_FACTOR_CODE}</code>.</p>
<form method="post" autocomplete="off"><label for="code">Code</label>
<input id="code" name="code" inputmode="numeric" maxlength="6" required>
{f'<p class="error" role="alert">{escape(said)}</p>' if said else ""}
<button name="do" value="confirm">Confirm</button></form>
<form method="post"><button class="plain" name="do" value="cancel">Go back without paying</button></form></section>"""
    return page("Confirm", body)


def over_page(intent: Intent) -> bytes:
    """What is left to say, where there is nowhere to go back to."""
    words = {
        Status.AUTHORIZED: "The amount is held.",
        Status.CAPTURED: "The payment was made.",
        Status.CANCELED: "The payment was canceled; nothing is held.",
        Status.FAILED: "The payment failed; nothing is held.",
        Status.EXPIRED: "The time is over; nothing is held.",
    }
    return page("Payment", f"<section>{_head(intent)}<p>{words.get(intent.status, 'Nothing to do.')}</p></section>")
