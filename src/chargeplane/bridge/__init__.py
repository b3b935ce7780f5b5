"""Wire to domain and back, pure; the only ring that knows both.

What an edge uses, by version (`1.6`, `2.0.1`, `2.1`):

    INCOMING[version][action](request)          -> StationMessage
    OUTGOING[version][action](request, answer)  -> the CALLRESULT's payload as bytes
    mend_frame(raw)                             -> a frame that was not JSON, repaired, or None
    repair(version, action, payload)            -> the request after repairs, with their names, or None
    undecodable(version, action, error)         -> Unusable for what must be answered by a CALLRESULT, or None
    commands.to_call / commands.outcome         -> version-free commands and how they ended
    repairs.known.meant                         -> an answer of a station with quirks, as it was meant
    describe(rule)                              -> a sentence for the operator about any repair that was counted

All tables hold exactly the actions that a station may send in that version.
"""

from __future__ import annotations

from chargeplane.bridge.incoming import INCOMING, OUTGOING, Translate, Write, undecodable
from chargeplane.bridge.repairs import Mended, Repaired, mend_frame, repair
from chargeplane.bridge.repairs.rules import SENTENCES, Rule
from chargeplane.bridge.sentences import describe

__all__ = [
    "INCOMING",
    "OUTGOING",
    "SENTENCES",
    "Mended",
    "Repaired",
    "Rule",
    "Translate",
    "Write",
    "describe",
    "mend_frame",
    "repair",
    "undecodable",
]
