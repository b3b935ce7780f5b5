"""Cases that nothing runs yet: what is missing, by version and id. Empty is done."""

from __future__ import annotations

from tests.conformance.official import VERSIONS_2X, official

_2X = {
    "TC_A_09 TC_A_10": "changing a station's password on the station itself",
    "TC_A_12 TC_A_13": "signing certificates for Plug & Charge (V2G)",
    "TC_A_19": "raising a station's security profile step by step",
    "TC_B_06 TC_B_07 TC_B_08 TC_B_09 TC_B_10": "getting and setting variables as a command",
    "TC_B_12 TC_B_13 TC_B_14 TC_B_18": "reports of the device model as a command",
    "TC_B_42 TC_B_44": "network connection profiles as a command",
    "TC_C_50 TC_C_51 TC_C_52": "contract certificates",
    "TC_D_01 TC_D_02 TC_D_03 TC_D_04 TC_D_08 TC_D_09": "the local authorisation list",
    "TC_H_01 TC_H_07 TC_H_08 TC_H_14 TC_H_15 TC_H_17 TC_H_19 TC_H_20 TC_H_22": "reservations as a command",
    "TC_I_01 TC_I_02": "costs on the station's display",
    "TC_N_05 TC_N_01 TC_N_02 TC_N_03 TC_N_60 TC_N_08 TC_N_09 TC_N_16 TC_N_17 TC_N_18 TC_N_44 TC_N_47": "monitoring",
    "TC_N_21 TC_N_24 TC_N_48 TC_N_49 TC_N_50": "events of monitors as resources",
    "TC_N_25 TC_N_34 TC_N_35 TC_N_36": "logs from stations",
    "TC_N_27 TC_N_28 TC_N_29 TC_N_30 TC_N_31 TC_N_32 TC_N_46 TC_N_62 TC_N_63": "customer information",
}
_BLOCKS_2X = {
    "K": "charging profiles as commands",
    "L": "firmware updates",
    "M": "installing, listing and deleting certificates on stations",
    "O": "display messages",
}
_16 = {
    "TC_019_1 TC_019_2 TC_021 TC_040_1 TC_040_2": "getting and changing configuration keys as a command",
    "TC_042_1 TC_042_2 TC_043_1 TC_043_3 TC_043_4 TC_043_5": "the local authorisation list",
    "TC_044_1 TC_044_2 TC_044_3 TC_080 TC_081": "firmware updates",
    "TC_045_1 TC_045_2 TC_079": "logs from stations",
    "TC_046 TC_047 TC_048_1 TC_048_2 TC_048_3 TC_048_4 TC_049 TC_051 TC_052 TC_053": "reservations as a command",
    "TC_056 TC_057 TC_059 TC_066 TC_067": "charging profiles as commands",
    "TC_073": "changing a station's password on the station itself",
    "TC_075_1 TC_075_2 TC_076 TC_078": "installing, listing and deleting certificates on stations",
    "TC_083": "raising a station's security profile step by step",
}


def _spread(table: dict[str, str], blocks: dict[str, str], ids: list[str]) -> dict[str, str]:
    found = {ident: missing for several, missing in table.items() for ident in several.split()}
    for ident in ids:
        block = ident.split("_")[1]
        if block in blocks:
            found.setdefault(ident, blocks[block])
    return found


NOT_BUILT: dict[str, dict[str, str]] = {
    "1.6": _spread(_16, {}, list(official("1.6"))),
    **{version: _spread(_2X, _BLOCKS_2X, list(official(version))) for version in VERSIONS_2X},
}
