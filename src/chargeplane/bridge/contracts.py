"""Plug & Charge on the wire of 2.0.1 and 2.1: questions about contracts and certificates, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chargeplane.bridge.encoding import encode
from chargeplane.bridge.narrow import text
from chargeplane.domain.contracts import (
    CertificateStatus,
    CertificateStatusAsk,
    ChainStatus,
    ChainStatusAsk,
    ChainStatusItem,
    ContractCheck,
    EvCertificate,
    EvCertificateAsk,
    HashData,
    OcspAsk,
    RevocationSource,
)
from chargeplane.domain.messages import Question, StationMessage
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import EPOCH, rfc3339
from chargeplane.ocpp import v21, v201


def contract_of(request: v201.AuthorizeRequest | v21.AuthorizeRequest) -> ContractCheck | None:
    """What an Authorize says about a contract's certificate; None where it says nothing."""
    hashes = request.iso15118_certificate_hash_data
    if request.certificate is None and hashes is None:
        return None
    return ContractCheck(
        emaid=made_storable(request.id_token.id_token, 255),
        chain=text(request.certificate, 10_000),
        hashes=tuple(_ocsp(one) for one in hashes or ()),
    )


def _ocsp(data: v201.OCSPRequestDataType | v21.OCSPRequestDataType) -> OcspAsk:
    return OcspAsk(certificate=_hashes(data), responder_url=made_storable(data.responder_url, 2000))


def _hashes(data: Any) -> HashData:
    return HashData(
        algorithm=made_storable(data.hash_algorithm, 20),
        issuer_name_hash=made_storable(data.issuer_name_hash.lower(), 128),
        issuer_key_hash=made_storable(data.issuer_key_hash.lower(), 128),
        serial_number=made_storable(data.serial_number.lower(), 40),
    )


def _ev_certificate(request: Any) -> StationMessage:
    return Question(
        action="Get15118EVCertificate",
        tells=text(f"{request.action}, {request.iso15118_schema_version}"),
        asks=EvCertificateAsk(
            schema=made_storable(request.iso15118_schema_version, 50),
            update=request.action == "Update",
            exi_request=made_storable(request.exi_request, 11_000),
            maximum_chains=getattr(request, "maximum_contract_certificate_chains", None),
            prioritized_emaids=tuple(
                made_storable(one, 255) for one in getattr(request, "prioritized_emaids", None) or ()
            ),
        ),
    )


def _certificate_status(request: Any) -> StationMessage:
    data = request.ocsp_request_data
    return Question(
        action="GetCertificateStatus",
        tells=text(f"{data.serial_number} at {data.responder_url}"),
        asks=CertificateStatusAsk(ask=_ocsp(data)),
    )


def _chain_status(request: v21.GetCertificateChainStatusRequest) -> StationMessage:
    return Question(
        action="GetCertificateChainStatus",
        tells=f"{len(request.certificate_status_requests)} certificate(s)",
        asks=ChainStatusAsk(
            items=tuple(
                ChainStatusItem(
                    certificate=_hashes(one.certificate_hash_data),
                    source=RevocationSource.CRL if one.source == "CRL" else RevocationSource.OCSP,
                    urls=tuple(made_storable(url, 2000) for url in one.urls[:5]),
                )
                for one in request.certificate_status_requests[:4]
            )
        ),
    )


def _answer_ev_certificate201(request: Any, answer: Any) -> bytes:
    made = getattr(answer, "answer", None)
    statuses = v201.Iso15118EVCertificateStatusEnumType
    # 2.0.1 takes 5600 characters; what is longer cannot be sent
    if not isinstance(made, EvCertificate) or len(made.exi_response) > 5600:
        return encode(v201.Get15118EVCertificateResponse(status=statuses.FAILED, exi_response=""))
    return encode(v201.Get15118EVCertificateResponse(status=statuses.ACCEPTED, exi_response=made.exi_response))


def _answer_ev_certificate21(request: Any, answer: Any) -> bytes:
    made = getattr(answer, "answer", None)
    statuses = v21.Iso15118EVCertificateStatusEnumType
    if not isinstance(made, EvCertificate):
        return encode(v21.Get15118EVCertificateResponse(status=statuses.FAILED, exi_response=""))
    return encode(
        v21.Get15118EVCertificateResponse(
            status=statuses.ACCEPTED, exi_response=made.exi_response, remaining_contracts=made.remaining
        )
    )


def _answer_certificate_status(v: Any) -> Callable[[Any, Any], bytes]:
    longest = 5500 if v is v201 else 18_000

    def write(request: Any, answer: Any) -> bytes:
        found = getattr(answer, "answer", None)
        if not isinstance(found, CertificateStatus) or len(found.ocsp_result) > longest:
            return b'{"status":"Failed"}'  # M06.FR.04
        status = v.GetCertificateStatusEnumType.ACCEPTED
        return encode(v.GetCertificateStatusResponse(status=status, ocsp_result=found.ocsp_result))

    return write


def _answer_chain_status(request: v21.GetCertificateChainStatusRequest, answer: Any) -> bytes:
    """M07.FR.08: every certificate that was asked about; what nobody could look up has failed."""
    told = getattr(answer, "answer", None)
    found = told.found if isinstance(told, ChainStatus) else ()
    return encode(
        v21.GetCertificateChainStatusResponse(
            certificate_status=tuple(
                v21.CertificateStatusType(
                    certificate_hash_data=asked.certificate_hash_data,
                    source=asked.source,
                    status=v21.CertificateStatusEnumType(found[place].state.value)
                    if place < len(found)
                    else v21.CertificateStatusEnumType.FAILED,
                    next_update=rfc3339(found[place].next_update if place < len(found) else EPOCH),
                )
                for place, asked in enumerate(request.certificate_status_requests[:4])
            )
        )
    )


INCOMING: Final[Mapping[str, Callable[[Any], StationMessage]]] = {
    "Get15118EVCertificate": _ev_certificate,
    "GetCertificateStatus": _certificate_status,
}
"""What stations of both versions ask."""

INCOMING_21: Final[Mapping[str, Callable[[Any], StationMessage]]] = {"GetCertificateChainStatus": _chain_status}
"""What stations of 2.1 ask as well."""

OUTGOING_201: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {
    "Get15118EVCertificate": _answer_ev_certificate201,
    "GetCertificateStatus": _answer_certificate_status(v201),
}
"""What is answered in 2.0.1."""

OUTGOING_21: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {
    "Get15118EVCertificate": _answer_ev_certificate21,
    "GetCertificateStatus": _answer_certificate_status(v21),
    "GetCertificateChainStatus": _answer_chain_status,
}
"""What is answered in 2.1."""
