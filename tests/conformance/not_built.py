"""Cases that nothing runs yet: what is missing, by version and id. Empty is done."""

from __future__ import annotations

from tests.conformance.official import VERSIONS_2X

_M = "installing, listing and deleting certificates on stations"
_2X = {
    "TC_A_09 TC_A_10": "changing a station's password on the station itself",
    "TC_A_12 TC_A_13": "signing certificates for Plug & Charge (V2G)",
    "TC_A_19": "raising a station's security profile step by step",
    "TC_I_01 TC_I_02": "costs that the server works out by itself: nothing rates transactions yet",
    "TC_M_01 TC_M_02 TC_M_03 TC_M_04 TC_M_05 TC_M_12 TC_M_13": _M,
    "TC_M_14 TC_M_15 TC_M_16 TC_M_17 TC_M_18 TC_M_19 TC_M_20 TC_M_21": _M,
}
_16 = {
    "TC_073": "changing a station's password on the station itself",
    "TC_075_1 TC_075_2 TC_076 TC_078": "installing, listing and deleting certificates on stations",
    "TC_083": "raising a station's security profile step by step",
}


def _spread(table: dict[str, str]) -> dict[str, str]:
    return {ident: missing for several, missing in table.items() for ident in several.split()}


NOT_BUILT: dict[str, dict[str, str]] = {"1.6": _spread(_16), **{version: _spread(_2X) for version in VERSIONS_2X}}
