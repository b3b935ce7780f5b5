"""Certificates that stations say they have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from chargeplane.domain.certificates import CertificateHashData, CertificateUse, HashAlgorithm, InstalledCertificate
from chargeplane.kernel.ids import StationKey
from chargeplane.store.queries.paging import Db


class InstalledCertificateView(Struct, frozen=True, kw_only=True):
    """A certificate that a station has, by its last answer.

    Args:
        below: serial number of the certificate whose chain it belongs to; null where it begins one.
        subject, not_after: where this server knows the certificate: it installed it, or it is its own.
        in_use: it is the root that leads to this server's certificate.
    """

    use: str
    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str
    below: str | None
    subject: str | None
    not_after: datetime | None
    in_use: bool
    reported_at: datetime


class Known(Struct, frozen=True, kw_only=True):
    """What is known of a certificate besides its hashes."""

    subject: str
    not_after: datetime


async def listed_at(db: Db, key: StationKey) -> datetime | None:
    """When the station last told everything it has; None where it never did."""
    found: datetime | None = await db.fetchval("SELECT listed_at FROM installed_listing WHERE station_key = $1", key)
    return found


async def all_of(db: Db, key: StationKey) -> list[InstalledCertificateView]:
    """What a station has; `in_use` is not known here."""
    rows = await db.fetch(
        "SELECT use, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number, nullif(below, '') AS below, subject,"
        " not_after, false AS in_use, reported_at FROM installed_certificate WHERE station_key = $1"
        " ORDER BY use, reported_at, serial_number",
        key,
    )
    return [InstalledCertificateView(**row) for row in rows]


async def replace(
    db: Db, key: StationKey, uses: Sequence[CertificateUse] | None, told: Sequence[InstalledCertificate]
) -> None:
    """What the station told stands for all that it has.

    Args:
        uses: of these uses; None for all.
    """
    words = None if uses is None else [use.value for use in uses]
    known = {
        row["serial_number"]: (row["subject"], row["not_after"])  # random numbers, whatever the hashes are made with
        for row in await db.fetch(
            "DELETE FROM installed_certificate WHERE station_key = $1 AND ($2::text[] IS NULL OR use = ANY ($2))"
            " RETURNING serial_number, subject, not_after",
            key,
            words,
        )
    }
    for one in told:
        for name in (one.hash_data, *one.children):
            subject, not_after = known.get(name.serial_number, (None, None))
            below = "" if name is one.hash_data else one.hash_data.serial_number
            await _add(db, key, one.use, name, subject, not_after, below)
    if uses is None:
        await db.execute(
            "INSERT INTO installed_listing (station_key, listed_at) VALUES ($1, now())"
            " ON CONFLICT (station_key) DO UPDATE SET listed_at = excluded.listed_at",
            key,
        )


async def add(db: Db, key: StationKey, use: CertificateUse, name: CertificateHashData, known: Known) -> None:
    """A certificate that was just installed."""
    await _add(db, key, use, name, known.subject, known.not_after, "")


async def _add(
    db: Db,
    key: StationKey,
    use: CertificateUse,
    name: CertificateHashData,
    subject: str | None,
    not_after: datetime | None,
    below: str,
) -> None:
    await db.execute(
        "INSERT INTO installed_certificate (station_key, use, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number,"
        " below, subject, not_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        key,
        use.value,
        name.hash_algorithm.value,
        name.issuer_name_hash,
        name.issuer_key_hash,
        name.serial_number,
        below,
        subject,
        not_after,
    )


async def remove(db: Db, key: StationKey, name: CertificateHashData) -> None:
    """A certificate that was just deleted."""
    await db.execute(
        "DELETE FROM installed_certificate WHERE station_key = $1 AND hash_algorithm = $2 AND issuer_name_hash = $3"
        " AND issuer_key_hash = $4 AND serial_number = $5",
        key,
        name.hash_algorithm.value,
        name.issuer_name_hash,
        name.issuer_key_hash,
        name.serial_number,
    )


async def algorithm_of(db: Db, key: StationKey) -> HashAlgorithm | None:
    """The hash algorithm a station lists its certificates with (M04.FR.07); None where it never listed any."""
    word: str | None = await db.fetchval(
        "SELECT hash_algorithm FROM installed_certificate WHERE station_key = $1 ORDER BY reported_at DESC LIMIT 1", key
    )
    return None if word is None else HashAlgorithm(word)
