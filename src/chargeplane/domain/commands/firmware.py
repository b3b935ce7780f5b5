"""Firmware: new software for stations, straight from a server or by way of a local controller (OCPP 2.x block L)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Url = Annotated[str, Meta(min_length=1, max_length=2000)]
"""Where a file is, or goes."""

RequestId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Ours; the station names it in what it tells later."""

Retries = Annotated[int, Meta(ge=0, le=1000)]
IntervalS = Annotated[int, Meta(ge=0, le=86_400)]
Md5 = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{32}$")]


class UpdateFirmware(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="update_firmware"):
    """Fetch a firmware and install it. Signed where certificate and signature are given (OCPP 2.0.1 L01, L02; 1.6, 5.20; security
    whitepaper L01).

    Args:
        location: a URL the station fetches the file from.
        retrieve_at: not before; None: now.
        install_at: not before; None: when the station can. Not in an unsigned update of OCPP 1.6.
        retries: how often the station tries again to fetch the file; None leaves it to the station.
        retry_interval_s: between two tries.
        signing_certificate: PEM.
        signature: Base64, over the whole file.
        request_id: given by the server where it is left out.
    """

    location: Url
    retrieve_at: datetime | None = None
    install_at: datetime | None = None
    retries: Retries | None = None
    retry_interval_s: IntervalS | None = None
    signing_certificate: Annotated[str, Meta(min_length=1, max_length=5500)] | None = None
    signature: Annotated[str, Meta(min_length=1, max_length=800)] | None = None
    request_id: RequestId | None = None


class PublishFirmware(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="publish_firmware"):
    """Have a local controller fetch a firmware and offer it to the stations behind it (OCPP 2.0.1 L03).

    Args:
        location: a URL the local controller fetches the file from.
        checksum: MD5 over the whole file, as hex.
        retries: how often it tries again to fetch the file.
        retry_interval_s: between two tries.
        request_id: given by the server where it is left out.
    """

    location: Url
    checksum: Md5
    retries: Retries | None = None
    retry_interval_s: IntervalS | None = None
    request_id: RequestId | None = None


class UnpublishFirmware(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="unpublish_firmware"):
    """Have a local controller offer a firmware no more (OCPP 2.0.1 L04).

    Args:
        checksum: MD5 over the whole file, as hex.
    """

    checksum: Md5
