"""Cases that nothing runs yet: what is missing, by version and id. Empty is done."""

from __future__ import annotations

from tests.conformance.official import VERSIONS_2X

_2X: dict[str, str] = {}
_16: dict[str, str] = {}


def _spread(table: dict[str, str]) -> dict[str, str]:
    return {ident: missing for several, missing in table.items() for ident in several.split()}


NOT_BUILT: dict[str, dict[str, str]] = {"1.6": _spread(_16), **{version: _spread(_2X) for version in VERSIONS_2X}}
