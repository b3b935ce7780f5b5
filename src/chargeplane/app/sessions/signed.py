"""Signed meter values: verified with the station's registered keys when a session is settled, and on ask before.

Parsing and verifying run in a thread. Keys that stations send along are kept; they count only where the tenant trusts them, for whoever can change
a value on its way can send a key with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.app.alerts import Alerts
from chargeplane.app.sessions.pricing import Prepared
from chargeplane.app.sessions.settling import Proof
from chargeplane.domain.alerts import Severity
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.cdrs.charging import ToldEvent
from chargeplane.domain.cdrs.proofs import summary_of
from chargeplane.domain.cdrs.session import SignedPolicy
from chargeplane.domain.messages import SignedValue
from chargeplane.domain.ocmf import (
    MeterPublicKey,
    OcmfRecord,
    SignedRecord,
    Verdict,
    Verification,
    public_key_of,
    record_of,
    verify,
)
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import TransactionId
from chargeplane.store.database import Database
from chargeplane.store.queries import meter_keys
from chargeplane.store.queries.meter_keys import CheckedValue, StoredKey
from chargeplane.store.queries.paging import Db

ALERT: Final = "signed_meter_value"
_MOST: Final = 500
"""Signed values of one session that are verified: the first, and the newest."""


class Checked(Struct, frozen=True, kw_only=True):
    """What verifying gave.

    Args:
        sent: keys that the station sent along.
    """

    values: tuple[CheckedValue, ...]
    summary: SignedSummary | None
    sent: tuple[MeterPublicKey, ...] = ()


class SignedProofs:
    """Implements `Proofs`."""

    def __init__(self, database: Database, alerts: Alerts) -> None:
        self._database = database
        self._alerts = alerts

    async def of(self, what: Prepared) -> Proof:
        """What the signed values of a session say, by its tenant's policy."""
        transaction = what.transaction
        async with self._database.read() as db:
            wanted = await meter_keys.settings(db, transaction.tenant_id)
            if wanted.policy is SignedPolicy.IGNORE:
                return Proof()
            keys = await meter_keys.in_use(db, transaction.station_key, transaction.evse_id)
        checked = await asyncio.to_thread(check, what.told, keys, what.energy_wh, trust=wanted.trust_station_keys)
        required = wanted.policy is SignedPolicy.REQUIRE
        summary = checked.summary
        if summary is None:
            if not required:
                return Proof()
            summary = SignedSummary(values=0, valid=0, proven=False, because=("The station sent no signed values.",))
        return Proof(
            summary=summary,
            hold=required and not (summary.proven and summary.agrees),
            values=checked.values,
            sent=checked.sent,
        )

    async def keep(self, db: Db, what: Prepared, proof: Proof) -> None:
        """Writes down what came of it; a wrong signature is somebody's to look at."""
        transaction = what.transaction
        for key in proof.sent:
            await meter_keys.register(
                db,
                transaction.tenant_id,
                transaction.station_key,
                key,
                ocpp_evse_id=transaction.evse_id,
                meter_serial=None,
                source=meter_keys.STATION,
                by="station",
            )
        if not proof.values:
            return
        ident = TransactionId(transaction.id)
        await meter_keys.keep_values(db, transaction.tenant_id, ident, proof.values)
        wrong = [one for one in proof.values if one.verdict is Verdict.INVALID]
        if wrong:
            await self._alerts.raise_alert(
                db,
                transaction.tenant_id,
                transaction.station_key,
                kind=ALERT,
                severity=Severity.WARNING,
                title=f"Signed meter values of session {transaction.id} are not what the meter signed",
                details={"session_id": str(transaction.id), "because": wrong[0].because, "values": len(wrong)},
            )


def check(told: Sequence[ToldEvent], keys: Sequence[StoredKey], energy_wh: Decimal, *, trust: bool) -> Checked:
    """Verifies what a session's messages have of signed values. Up to a millisecond a value: not for the event loop.

    Args:
        keys: of the station's meter.
        energy_wh: as it is billed.
        trust: keys that the station sends count.
    """
    found = _signed(told)
    if not found:
        return Checked(values=(), summary=None)
    sent = {key.fingerprint: key for _, value in found if (key := _key_in(value)) is not None}
    usable = [one for one in keys if trust or one.source == meter_keys.OPERATOR]
    by_station = [key for key in sent.values() if all(key.fingerprint != one.key.fingerprint for one in keys)]
    values: list[CheckedValue] = []
    records: list[SignedRecord] = []
    unreadable = 0
    for ordinal, value in found:
        try:
            record = record_of(value.data)
        except InvalidInputError as error:
            unreadable += 1
            values.append(
                CheckedValue(
                    ordinal=ordinal, data=value.data, verdict=Verdict.UNREADABLE, because=str(error), key_id=None
                )
            )
            continue
        verification, key_id = _verified(record, usable, by_station if trust else ())
        values.append(
            CheckedValue(
                ordinal=ordinal,
                data=value.data,
                verdict=verification.verdict,
                because=verification.because,
                key_id=key_id,
            )
        )
        records.append(SignedRecord(record=record, verification=verification))
    return Checked(
        values=tuple(values),
        summary=summary_of([one.verdict for one in values], records, unreadable, energy_wh),
        sent=tuple(sent.values()),
    )


def _signed(told: Sequence[ToldEvent]) -> list[tuple[int, SignedValue]]:
    """The signed values, each once, in order of arrival."""
    seen: set[str] = set()
    found: list[tuple[int, SignedValue]] = []
    for one in sorted(told, key=lambda each: each.event.ordinal):
        for reading in one.event.readings:
            for sample in reading.samples:
                value = sample.signed
                if value is not None and value.data and value.data not in seen:
                    seen.add(value.data)
                    found.append((one.event.ordinal, value))
    if len(found) <= _MOST:
        return found
    return [*found[:1], *found[1 - _MOST :]]


def _key_in(value: SignedValue) -> MeterPublicKey | None:
    if not value.public_key:
        return None
    try:
        return public_key_of(value.public_key)
    except InvalidInputError:
        return None


def _verified(
    record: OcmfRecord, keys: Sequence[StoredKey], sent: Sequence[MeterPublicKey]
) -> tuple[Verification, int | None]:
    """By the key that fits; where none does, by the first that was to fit."""
    named = [one for one in keys if one.meter_serial is not None and one.meter_serial == record.meter_serial]
    candidates = [(one.key, one.id) for one in named or keys if one.meter_serial is None or one in named]
    tried: tuple[Verification, int | None] | None = None
    for key, ident in (*candidates, *((key, None) for key in sent)):
        verification = verify(record, key)
        if verification.verdict is Verdict.VALID:
            return verification, ident
        tried = tried or (verification, ident)
    return tried or (verify(record, None), None)
