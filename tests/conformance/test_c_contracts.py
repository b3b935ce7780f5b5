"""Plug & Charge: authorisation by a contract's certificate, certificates for EVs, their status (blocks C and M)."""

from __future__ import annotations

import itertools
from base64 import b64decode, b64encode
from typing import Any

import pytest
from cryptography.x509 import ocsp

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.outside import EXI_RESPONSE, Certified, Outside
from tests.conformance.rest import IdToken, Operator
from tests.conformance.states import Session

_numbers = itertools.count(1)


class Contract:
    """An EV's contract: its certificate below two authorities that the operator trusts, and the eMAID."""

    def __init__(self, outside: Outside, token: IdToken, below: Certified) -> None:
        self.outside = outside
        self.token = token
        self.below = below
        self.certificate = outside.certify(token.value.replace("-", ""), below)

    @classmethod
    async def of(cls, house: House, csms: Operator) -> Contract:
        """The eMAID may charge; nobody has asked about the certificate yet."""
        number = next(_numbers)
        root = house.outside.certify(f"Root {number}", ca=True)
        below = house.outside.certify(f"Between {number}", root, ca=True)
        for one in (root, below):
            await csms.post("/trust-anchors", {"pem": one.pem, "note": "of the conformance tests"})
        view = await csms.post("/id-tokens", {"id_token": f"DE-8AA-C{number:08}", "type": "eMAID"})
        return cls(house.outside, IdToken(view), below)

    @property
    def serial(self) -> int:
        """Number of the contract's certificate."""
        return self.certificate.certificate.serial_number

    def named(self) -> list[dict[str, str]]:
        """The chain by its hashes, as OCPP names it."""
        return [one.named(self.outside.responder) for one in (self.certificate, self.below)]


async def at_evse(csms: Operator, version: str, contract: Contract) -> Session:
    """State EVConnectedPreSession."""
    driver = Session(await csms.booted(version), contract.token)
    await driver.ev_connected_pre_session()
    return driver


async def charges(driver: Session) -> None:
    """The end of the cases in which the contract is good."""
    answer = await driver.event("Authorized", token=driver.token)
    assert answer["idTokenInfo"]["status"] == "Accepted"
    driver.authorized_before = True
    await driver.energy_transfer_started()


@case()
async def test_TC_C_50_CSMS(house: House, csms: Operator, version: str) -> None:
    contract = await Contract.of(house, csms)
    driver = await at_evse(csms, version, contract)
    told = {"idToken": contract.token.wire, "iso15118CertificateHashData": contract.named()}
    answer = await driver.station.send("Authorize", told)
    assert contract.serial in house.outside.asked
    assert (answer["idTokenInfo"]["status"], answer["certificateStatus"]) == ("Accepted", "Accepted")
    await charges(driver)


@case()
async def test_TC_C_51_CSMS(house: House, csms: Operator, version: str) -> None:
    contract = await Contract.of(house, csms)
    house.outside.revoked.add(contract.serial)
    driver = await at_evse(csms, version, contract)
    told = {"idToken": contract.token.wire, "iso15118CertificateHashData": contract.named()}
    answer = await driver.station.send("Authorize", told)
    assert contract.serial in house.outside.asked
    assert answer["idTokenInfo"]["status"] != "Accepted"
    assert answer["certificateStatus"] == "CertificateRevoked"


@case()
async def test_TC_C_52_CSMS(house: House, csms: Operator, version: str) -> None:
    contract = await Contract.of(house, csms)
    driver = await at_evse(csms, version, contract)
    chain = contract.certificate.pem + contract.below.pem
    answer = await driver.station.send("Authorize", idToken=contract.token.wire, certificate=chain)
    assert contract.serial in house.outside.asked
    assert (answer["idTokenInfo"]["status"], answer["certificateStatus"]) == ("Accepted", "Accepted")
    await charges(driver)


@case()
async def test_TC_M_24_CSMS(house: House, csms: Operator, version: str) -> None:
    contract = await Contract.of(house, csms)
    station = await csms.booted(version)
    named = contract.below.named(house.outside.responder)
    answer = await station.send("GetCertificateStatus", ocspRequestData=named)
    assert answer["status"] == "Accepted"
    told = ocsp.load_der_ocsp_response(b64decode(answer["ocspResult"]))
    assert told.serial_number == contract.below.certificate.serial_number
    assert told.certificate_status is ocsp.OCSPCertStatus.GOOD


async def ev_certificate(house: House, csms: Operator, version: str, action: str) -> None:
    """An EV asks for its contract's certificate by way of the station; the pool's message comes back as it is."""
    station = await csms.booted(version)
    request = b64encode(f"a request {next(_numbers)} in EXI".encode()).decode()
    schema = "urn:iso:15118:2:2013:MsgDef"
    told = {"iso15118SchemaVersion": schema, "action": action, "exiRequest": request}
    answer = await station.send("Get15118EVCertificate", told)
    assert (answer["status"], answer["exiResponse"]) == ("Accepted", EXI_RESPONSE)
    assert house.outside.wanted[-1]["certificateInstallationReq"] == request


@case()
async def test_TC_M_26_CSMS(house: House, csms: Operator, version: str) -> None:
    await ev_certificate(house, csms, version, "Install")


@case()
async def test_TC_M_28_CSMS(house: House, csms: Operator, version: str) -> None:
    await ev_certificate(house, csms, version, "Update")


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_what_a_car_of_iso_15118_20_sends_reaches_the_pool_as_it_is(
    house: House, csms: Operator, version: str
) -> None:
    """OCPP 2.0.1 and 2.1, M01: the schema of the car's message goes with it; in 2.1 a car may ask for several chains."""
    station = await csms.booted(version)
    request = b64encode(f"a request {next(_numbers)} in EXI".encode()).decode()
    schema = "urn:iso:std:iso:15118:-20:CommonMessages"
    told: dict[str, Any] = {"iso15118SchemaVersion": schema, "action": "Install", "exiRequest": request}
    if version == "2.1":
        told |= {
            "maximumContractCertificateChains": 2,
            "prioritizedEMAIDs": ["DE8AAC00000001"],
        }
    answer = await station.send("Get15118EVCertificate", told)
    assert (answer["status"], answer["exiResponse"]) == ("Accepted", EXI_RESPONSE)
    assert answer.get("remainingContracts") == (0 if version == "2.1" else None)
    wanted = house.outside.wanted[-1]
    assert (wanted["certificateInstallationReq"], wanted["xsdMsgDefNamespace"]) == (request, schema)
