"""The pages themselves. They hold no script and nothing from elsewhere, so they work everywhere and tell nobody."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import quote

from chargeplane.domain.people.passwords import LONGEST, SHORTEST
from chargeplane.domain.people.sign_on import SignOnFault
from chargeplane.edges.http.guest.pages import STYLE

_MORE: Final = """
header b{color:var(--ink);font-weight:600}form+form{margin-top:.2rem}
section.good{border-top:.3rem solid var(--lead)}section.bad{border-top:.3rem solid var(--bad)}section.wait{border-top:.3rem solid var(--warm)}
p[role=alert]{border-left:.25rem solid var(--bad);padding:.1rem 0 .1rem .8rem;margin:1rem 0 .2rem}
input[aria-invalid]{border-color:var(--bad)}.hint{font-size:.82rem;color:var(--soft);margin:.35rem 0 0}
@media print{header b{display:none}}
"""
_STYLE: Final = STYLE + _MORE
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""Of every page: nothing from elsewhere, nothing kept, and no address with a code in it told to anybody."""

DEFAULT: Final = "en"


@cache
def words_of(language: str) -> dict[str, str]:
    """The texts of a language; those it lacks are English."""
    known = languages()
    return {**known[DEFAULT], **known.get(language, {})}


@cache
def languages() -> dict[str, dict[str, str]]:
    """All languages there are files of."""
    folder = files("chargeplane.edges.http.account") / "words"
    return {
        one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8"))
        for one in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if one.name.endswith(".toml")
    }


_RULES: Final = {
    f"Must have {SHORTEST} to {LONGEST} characters": "rule_length",
    "Must have at least five different characters": "rule_varied",
    "Must not be the name or the e-mail address": "rule_known",
    "Is among the passwords that are tried first": "rule_common",
}
"""What `domain.people.passwords` says, as the pages say it."""


class AccountPages:
    """Makes pages in a language.

    Args:
        path: of the page itself, for its links to the other languages.
        query: what its address holds beside the language, for the same links.
    """

    def __init__(self, language: str, path: str, query: str = "") -> None:
        self._language = language
        self._path = path
        self._query = query
        self._say = words_of(language)

    # What mails lead to

    def confirm(self, purpose: str, code: str) -> bytes:
        """A button that takes the code: mail programs open links to look at them, so opening one does nothing."""
        say = self._say
        body = f"<p>{escape(say[f'{purpose}_text'])}</p>{self._form(purpose, code, '', say[f'{purpose}_button'])}"
        return self._page(say[f"{purpose}_title"], body)

    def password(self, purpose: str, code: str, error: str | None = None) -> bytes:
        """A new password, twice."""
        say = self._say
        wrong = ' aria-invalid="true"' if error else ""
        alert = f'<p role="alert" id="wrong">{escape(error)}</p>' if error else ""
        about = 'aria-describedby="rules wrong"' if error else 'aria-describedby="rules"'
        fields = f"""<label for="password">{escape(say["password"])}</label>
<input id="password" name="password" type="password" autocomplete="new-password" required maxlength="1000" {about}{wrong}{" autofocus" if error else ""}>
<p class="hint" id="rules">{escape(say["show_password_rules"])}</p>
<label for="repeat">{escape(say["repeat"])}</label>
<input id="repeat" name="repeat" type="password" autocomplete="new-password" required maxlength="1000"{wrong}>"""
        form = self._form(purpose, code, fields, say[f"{purpose}_button"])
        return self._page(say[f"{purpose}_title"], f'<p class="soft">{escape(say[f"{purpose}_text"])}</p>{alert}{form}')

    def password_fault(self, sentence: str) -> str:
        """What is wrong with a password, in the page's language.

        Args:
            sentence: of `domain.people.passwords.fault_of`.
        """
        rule = _RULES.get(sentence)
        return self._say["wrong_password"].format(rule=sentence if rule is None else self._say[rule])

    def differ(self) -> str:
        """That the two passwords are not the same."""
        return self._say["differ"]

    def done(self, purpose: str) -> bytes:
        """That it worked."""
        return self._told(f"{purpose}_done", "good")

    def gone(self, purpose: str, code: str | None) -> bytes:
        """That a link works no more, with the way to a new one.

        Args:
            code: that may be had anew; None where it never was one.
        """
        say = self._say
        body = f"<p>{escape(say['gone'])}</p>"
        if code is not None:
            again = f'<input type="hidden" name="again" value="1"><p class="soft">{escape(say["gone_new"])}</p>'
            body += self._form(purpose, code, again, say["send_new"])
        return self._page(say["gone_title"], body, "bad")

    def sent(self) -> bytes:
        """That a new mail may come."""
        return self._told("sent", "good")

    def taken(self) -> bytes:
        """That another account has the address."""
        return self._told("taken", "bad")

    def missing(self, purpose: str) -> bytes:
        """That there is no code in the address, with a field for one."""
        say = self._say
        body = f"""<p>{escape(say["missing"])}</p><form method="get" action="{self._at(purpose)}">
<input type="hidden" name="lang" value="{self._language}"><label for="code">{escape(say["code_label"])}</label>
<input id="code" name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" required maxlength="200">
<button>{escape(say["go_on"])}</button></form>"""
        return self._page(say["missing_title"], body, "bad")

    def slow(self, wait_s: float) -> bytes:
        """That there were too many attempts."""
        say = self._say
        minutes = wait_s >= 90
        words = say["minutes" if minutes else "seconds"].format(
            rule=int(wait_s // 60) + 1 if minutes else int(wait_s) + 1
        )
        body = f"<p>{escape(say['slow'].format(rule=words))}</p>"
        return self._page(say["slow_title"], body, "wait")

    # Signing on by a provider

    def sign_in(self, tenant: str, choices: Sequence[tuple[str, str]]) -> bytes:
        """By what one may sign on.

        Args:
            choices: titles with where they begin.
        """
        say = self._say
        text = say["sign_in" if choices else "sign_in_none"].format(tenant=tenant)
        body = f"<p>{escape(text)}</p>" + "".join(
            f'<a class="button" href="{escape(url)}">{escape(say["by_provider"].format(provider=title))}</a>'
            for title, url in choices
        )
        return self._page(say["sign_in_title"], body)

    def signed_in(self, who: str, tenant: str, csrf: str) -> bytes:
        """That one is signed in, and the way out."""
        say = self._say
        body = f"""<p>{escape(say["signed_in"].format(who=who, tenant=tenant))}</p>
<form method="post" action="/account/sign-out?lang={self._language}"><input type="hidden" name="csrf_token" value="{escape(csrf)}">
<button class="quiet">{escape(say["sign_out"])}</button></form>"""
        return self._page(say["signed_in_title"], body, "good")

    def signed_out(self, at_provider: str | None = None) -> bytes:
        """That one is not signed in any more.

        Args:
            at_provider: where one signs out of the provider too.
        """
        say = self._say
        body = f"<p>{escape(say['signed_out'])}</p>"
        if at_provider is not None:
            body += f'<a class="button quiet" href="{escape(at_provider)}">{escape(say["also_at"])}</a>'
        return self._page(say["signed_out_title"], body)

    def failed(self, fault: SignOnFault) -> bytes:
        """That signing on did not work, and why."""
        say = self._say
        again = f'<a class="button quiet" href="/account/sign-in?lang={self._language}">{escape(say["again"])}</a>'
        return self._page(say["failed_title"], f"<p>{escape(say[fault.value])}</p>{again}", "bad")

    # Pieces

    def _told(self, key: str, kind: str) -> bytes:
        return self._page(self._say[f"{key}_title"], f"<p>{escape(self._say[key])}</p>", kind)

    def _form(self, purpose: str, code: str, fields: str, button: str) -> str:
        return (
            f'<form method="post" action="{self._at(purpose)}?lang={self._language}">'
            f'<input type="hidden" name="code" value="{escape(code)}">{fields}<button>{escape(button)}</button></form>'
        )

    def _at(self, purpose: str) -> str:
        return f"/account/{purpose.replace('_', '-')}"

    def _page(self, title: str, body: str, kind: str = "") -> bytes:
        others = "".join(
            f'<a href="{escape(self._path)}?lang={code}{escape(self._query)}" lang="{code}" hreflang="{code}"'
            f"{' aria-current=true' if code == self._language else ''}>{escape(texts['language'])}</a>"
            for code, texts in languages().items()
        )
        head = f"<h1>{escape(title)}</h1>"
        return (
            f'<!doctype html><html lang="{self._language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
            f'<body><main><header><span></span><nav aria-label="{escape(self._say["language"])}">{others}</nav></header>'
            f'<section class="{kind}">{head}{body}</section></main></body></html>'
        ).encode()


def query_of(code: str | None) -> str:
    """What a page's address holds of a code, behind the language."""
    return "" if code is None else f"&code={quote(code, safe='')}"
