"""What every provider does alike. Stripe is stood in for twice: by localstripe, a process that others wrote, which has intents with manual capture, a
second factor and refunds (`stripe`); and by one of ours that takes nothing that Stripe's own types do not allow, with Checkout, raised holds,
repeated answers, disputes, kept cards and events (`stripe-page`, `stripe-intent`).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.payments.ports import BadWebhookError, DeclinedError, UnknownPaymentError
from chargeplane.domain.payments.states import Dispute, Ended, Payment, PaymentState, Seen, seen
from chargeplane.simulator.payments.deliveries import signature
from chargeplane.store.database import Database
from tests.payments.providers import DECLINED, GOOD, SECOND_FACTOR, Case, all_cases, euro
from tests.payments.stripe_forms import faults, tree_of
from tests.payments.stripe_stand_in import DECLINED_LATER
from tests.support import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")
NAMES = ("simulator", "stripe", "stripe-page", "stripe-intent", "wallet", "invoice", "free")
WITH_PAYER = ("simulator", "stripe", "stripe-page", "stripe-intent")
STRICT = ("stripe-page", "stripe-intent")
KEEPS_CARDS = ("simulator", *STRICT)
LESS = "localstripe has it not; the strict stand-in for Stripe has"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cases(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Case]]:
    """All providers."""
    folder: Path = tmp_path_factory.mktemp("localstripe")
    with postgres_server.database() as url:
        database = Database(url, readers=4)
        async with all_cases(database, folder) as made:
            yield made
        await database.close()


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    """Each of them."""
    return cases[request.param]


@pytest.fixture(params=WITH_PAYER)
def with_payer(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    """Each that asks a payer."""
    return cases[request.param]


def state(found: Seen) -> PaymentState:
    return seen(Payment(hold=Decimal(50), ref="x"), found).state


async def test_a_hold_is_seen_with_its_amount(case: Case) -> None:
    ref = await case.held("50.00")
    found = await case.provider.fetch(ref, "EUR")
    assert (found.authorized, found.captured, found.ended) == (Decimal("50.00"), 0, None)
    assert state(found) is PaymentState.AUTHORIZED
    if case.provider.able.holds_for_s is not None:
        assert found.expires_at is not None
        assert found.expires_at > datetime.now(UTC)


async def test_less_than_the_hold_is_captured(case: Case) -> None:
    ref = await case.held("50.00")
    told = await case.provider.capture(ref, euro("12.34"), "capture-" + ref)
    found = await case.provider.fetch(ref, "EUR")
    assert told.captured == found.captured == Decimal("12.34")
    assert found.refunded == 0
    assert state(found) is PaymentState.CAPTURED


async def test_a_second_capture_takes_nothing_more(case: Case) -> None:
    ref = await case.held("50.00")
    await case.provider.capture(ref, euro("10.00"), "first-" + ref)
    for key in ("first-" + ref, "second-" + ref):
        try:
            told = await case.provider.capture(ref, euro("10.00"), key)
        except DeclinedError:
            continue
        assert told.captured == Decimal("10.00")
    assert (await case.provider.fetch(ref, "EUR")).captured == Decimal("10.00")


async def test_more_than_the_hold_is_refused(case: Case) -> None:
    ref = await case.held("50.00")
    with pytest.raises(DeclinedError):
        await case.provider.capture(ref, euro("50.01"), "capture-" + ref)
    assert (await case.provider.fetch(ref, "EUR")).captured == 0


async def test_a_hold_is_released(case: Case) -> None:
    ref = await case.held("50.00")
    told = await case.provider.void(ref, "void-" + ref)
    assert told.ended is Ended.VOIDED
    assert state(await case.provider.fetch(ref, "EUR")) is PaymentState.VOIDED
    if case.name == "stripe":
        return  # the stand-in captures what was canceled
    with pytest.raises(DeclinedError):
        await case.provider.capture(ref, euro("1.00"), "capture-" + ref)


async def test_a_payment_that_nobody_paid_is_ended(case: Case) -> None:
    begun = await case.provider.start(await case.order())
    assert state(begun.seen) in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION)
    assert (await case.provider.void(begun.ref, "void-" + begun.ref)).ended is Ended.VOIDED


async def test_what_was_captured_is_refunded_in_parts_each_once_and_never_more(case: Case) -> None:
    ref = await case.held("50.00")
    await case.provider.capture(ref, euro("30.00"), "capture-" + ref)
    for _ in range(2):  # the answer to the first may have been lost
        told = await case.provider.refund(ref, euro("10.00"), "one-" + ref)
        assert told.refunded == Decimal("10.00")
        assert "one-" + ref in told.refunds
        assert state(told) is PaymentState.PARTLY_REFUNDED
    told = await case.provider.refund(ref, euro("20.00"), "two-" + ref)
    assert told.refunded == Decimal("30.00")
    assert state(told) is PaymentState.REFUNDED
    if case.name == "stripe":
        return  # the stand-in does not add its refunds up
    with pytest.raises(DeclinedError):
        await case.provider.refund(ref, euro("0.01"), "three-" + ref)
    assert (await case.provider.fetch(ref, "EUR")).refunded == Decimal("30.00")


async def test_nothing_is_refunded_of_what_was_not_captured(case: Case) -> None:
    if case.name == "stripe":
        pytest.skip(LESS)
    ref = await case.held("50.00")
    with pytest.raises(DeclinedError):
        await case.provider.refund(ref, euro("1.00"), "refund-" + ref)


async def test_a_capture_cannot_be_voided(case: Case) -> None:
    ref = await case.held("50.00")
    await case.provider.capture(ref, euro("5.00"), "capture-" + ref)
    with pytest.raises(DeclinedError):
        await case.provider.void(ref, "void-" + ref)
    assert state(await case.provider.fetch(ref, "EUR")) is PaymentState.CAPTURED


async def test_a_hold_is_raised_where_the_provider_says_it_can(case: Case) -> None:
    if not case.provider.able.increment:
        pytest.skip("the provider raises no holds")
    ref = await case.held("50.00")
    if case.name in ("wallet", "invoice"):
        with pytest.raises(DeclinedError):  # the account holds 50.00 in all
            await case.provider.increment(ref, euro("50.01"), "more-" + ref)
        assert (await case.provider.fetch(ref, "EUR")).authorized == Decimal("50.00")
        return
    assert (await case.provider.increment(ref, euro("75.00"), "more-" + ref)).authorized == Decimal("75.00")
    assert (await case.provider.capture(ref, euro("70.00"), "capture-" + ref)).captured == Decimal("70.00")


async def test_the_same_start_again_is_the_same_payment(case: Case) -> None:
    if case.name == "stripe":
        pytest.skip(LESS)
    order = await case.order()
    assert (await case.provider.start(order)).ref == (await case.provider.start(order)).ref


async def test_an_unknown_payment_is_told_apart(case: Case) -> None:
    with pytest.raises(UnknownPaymentError):
        await case.provider.fetch("pi_unknown", "EUR")


async def test_a_declined_card_holds_nothing_and_says_why(with_payer: Case) -> None:
    begun = await with_payer.provider.start(await with_payer.order())
    assert with_payer.payer is not None
    await with_payer.payer.pay(begun.ref, DECLINED)
    found = await with_payer.provider.fetch(begun.ref, "EUR")
    assert (found.authorized, found.error) == (0, "card_declined")


async def test_a_second_factor_is_asked_for_before_anything_is_held(with_payer: Case) -> None:
    begun = await with_payer.provider.start(await with_payer.order())
    assert with_payer.payer is not None
    await with_payer.payer.pay(begun.ref, SECOND_FACTOR)
    found = await with_payer.provider.fetch(begun.ref, "EUR")
    assert found.authorized == 0
    assert state(found) is PaymentState.REQUIRES_ACTION
    await with_payer.payer.confirm(begun.ref)
    assert (await with_payer.provider.fetch(begun.ref, "EUR")).authorized == Decimal("50.00")


async def test_without_enough_on_the_account_nothing_is_held(cases: dict[str, Case]) -> None:
    for name in ("wallet", "invoice"):
        case = cases[name]
        begun = await case.provider.start(await case.order("50.00"))
        with pytest.raises(DeclinedError) as refused:
            await case.provider.authorize(begun.ref, euro("50.01"), "hold-" + begun.ref)
        assert refused.value.code == "insufficient_funds"
        assert (await case.provider.fetch(begun.ref, "EUR")).authorized == 0


async def test_webhooks_are_believed_by_their_signature_only(cases: dict[str, Case]) -> None:
    now = datetime.now(UTC)
    at = int(time.time())
    body = msgspec.json.encode(
        {"id": "evt_1", "type": "payment_intent.succeeded", "created": at, "data": {"object": {"id": "pi_1"}}}
    )
    stripe = cases["stripe"].provider

    def signed(secret: str, when: int) -> dict[str, str]:
        value = hmac.new(secret.encode(), f"{when}.".encode() + body, sha256).hexdigest()
        return {"stripe-signature": f"t={when},v1={value}"}

    (told,) = stripe.parse_webhook(signed("whsec_test", at), body, now)
    assert (told.event_id, told.ref) == ("evt_1", "pi_1")
    for headers in (signed("other", at), signed("whsec_test", at - 3600), {}, {"stripe-signature": "t=x,v1=y"}):
        with pytest.raises(BadWebhookError):
            stripe.parse_webhook(headers, body, now)
    simulator = cases["simulator"].provider
    for headers in (
        {"simulator-signature": signature("other", body, at)},
        {"simulator-signature": signature("secret", body, at - 3600)},
        {},
        {"simulator-signature": "t=,v1="},
    ):
        with pytest.raises(BadWebhookError):
            simulator.parse_webhook(headers, body, now)
    for name in ("wallet", "invoice", "free"):
        with pytest.raises(BadWebhookError):
            cases[name].provider.parse_webhook({}, body, now)


@pytest.fixture(params=STRICT)
def strict(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    """Stripe, by each way for the payer."""
    return cases[request.param]


@pytest.fixture(params=KEEPS_CARDS)
def keeping(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    """Each that keeps cards."""
    return cases[request.param]


async def saved(case: Case, card: str = GOOD) -> str:
    """A card given once; what the provider calls it."""
    assert case.provider.able.saved
    begun = await case.provider.start(await case.order("1.00", save=True))
    assert begun.seen.saved is None
    assert case.payer is not None
    await case.payer.pay(begun.ref, card)
    found = await case.provider.fetch(begun.ref, "EUR")
    assert (found.authorized, found.method) == (Decimal("1.00"), f"Visa {card[-4:]}")
    assert found.saved is not None
    assert (await case.provider.void(begun.ref, "void-" + begun.ref)).ended is Ended.VOIDED
    return found.saved


async def test_a_kept_card_pays_again_and_again_without_the_payer(keeping: Case) -> None:
    card = await saved(keeping)
    for _ in range(2):
        order = await keeping.order("25.00", method=card, off_session=True)
        begun = await keeping.provider.start(order)
        assert state(begun.seen) in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION)
        assert begun.seen.authorized == 0
        told = await keeping.provider.authorize(begun.ref, euro("25.00"), "hold-" + begun.ref)
        again = await keeping.provider.authorize(begun.ref, euro("25.00"), "hold-" + begun.ref)
        assert told.authorized == again.authorized == Decimal("25.00")
        assert (await keeping.provider.increment(begun.ref, euro("30.00"), "more-" + begun.ref)).authorized == 30
        assert (await keeping.provider.capture(begun.ref, euro("26.00"), "take-" + begun.ref)).captured == 26


async def test_a_kept_card_that_is_declined_later_says_why(keeping: Case) -> None:
    card = await saved(keeping, DECLINED_LATER)
    begun = await keeping.provider.start(await keeping.order("25.00", method=card, off_session=True))
    with pytest.raises(DeclinedError) as refused:
        await keeping.provider.authorize(begun.ref, euro("25.00"), "hold-" + begun.ref)
    assert refused.value.code == "card_declined"
    assert (await keeping.provider.fetch(begun.ref, "EUR")).authorized == 0


async def test_a_payment_that_is_not_to_keep_the_card_keeps_none(keeping: Case) -> None:
    ref = await keeping.held("50.00")
    assert (await keeping.provider.fetch(ref, "EUR")).saved is None


async def test_nobody_is_charged_by_a_page_that_they_have_not_paid_on(cases: dict[str, Case]) -> None:
    case = cases["stripe-page"]
    begun = await case.provider.start(await case.order())
    assert begun.seen.action_url is not None
    for act in (case.provider.authorize, case.provider.capture, case.provider.increment):
        with pytest.raises(DeclinedError):
            await act(begun.ref, euro("50.00"), "early-" + begun.ref)


async def test_a_page_that_was_ended_or_paid_has_no_address_any_more(cases: dict[str, Case]) -> None:
    case = cases["stripe-page"]
    assert case.payer is not None
    paid, ended = [await case.provider.start(await case.order()) for _ in range(2)]
    await case.payer.pay(paid.ref)
    told = await case.provider.void(ended.ref, "void-" + ended.ref)
    assert (told.action_url, told.ended) == (None, Ended.VOIDED)
    found = await case.provider.fetch(paid.ref, "EUR")
    assert (found.action_url, found.authorized) == (None, 50)
    assert found.alias is not None
    assert found.alias.startswith("pi_")


async def test_what_stripe_tells_is_about_the_payment_and_signed(strict: Case) -> None:
    server, provider = strict.stand_in, strict.provider
    assert server is not None
    before = len(server.events)
    ref = await strict.held("50.00")
    await provider.capture(ref, euro("20.00"), "capture-" + ref)
    await provider.refund(ref, euro("5.00"), "back-" + ref)
    intent = (await provider.fetch(ref, "EUR")).alias or ref
    server.dispute(intent)
    server.dispute(intent, "lost")
    told = {}
    for event in server.events[before:]:
        headers, body = server.delivery(event)
        (one,) = provider.parse_webhook(headers, body, datetime.now(UTC))
        assert one.ref in (ref, intent), event["type"]
        assert "4242" not in one.payload
        told[one.kind] = one
        for forged in (server.delivery(event, "whsec_other")[0], {}):
            with pytest.raises(BadWebhookError):
                provider.parse_webhook(forged, body, datetime.now(UTC))
        with pytest.raises(BadWebhookError):
            provider.parse_webhook(headers, body + b" ", datetime.now(UTC))
    assert {
        "payment_intent.amount_capturable_updated",
        "payment_intent.succeeded",
        "refund.created",
        "charge.dispute.created",
        "charge.dispute.closed",
    } <= set(told)
    assert ("checkout.session.completed" in told) is (strict.name == "stripe-page")
    opened, closed = told["charge.dispute.created"].seen, told["charge.dispute.closed"].seen
    assert opened is not None
    assert closed is not None
    assert (opened.dispute, closed.dispute) == (Dispute.OPEN, Dispute.LOST)
    found = await provider.fetch(ref, "EUR")
    assert (found.dispute, found.fee, found.refunds) == (Dispute.OPEN, Decimal("0.39"), frozenset({"back-" + ref}))


async def test_a_key_that_comes_again_with_something_else_is_refused(strict: Case) -> None:
    order = await strict.order("50.00")
    await strict.provider.start(order)
    with pytest.raises(DeclinedError) as refused:
        await strict.provider.start(replace(order, hold=euro("60.00")))
    assert refused.value.code == "idempotency_key_reused"


async def test_the_stand_in_takes_only_what_stripe_takes() -> None:
    assert faults("POST", "/v1/refunds", tree_of([("payment_intent", "pi_1"), ("amount", "5")])) == []
    for form, fault in (
        ({"amount": "5.5"}, "amount: must be a whole number"),
        ({"reason": "none"}, "reason: must be one of"),
        ({"sum": "5"}, "sum: unknown"),
        ({"metadata[a][b]": "5"}, "metadata: must be texts by names"),
        ({"idempotency_key": "x"}, "idempotency_key: unknown"),
    ):
        (found,) = faults("POST", "/v1/refunds", tree_of(form.items()))
        assert found.startswith(fault)
    assert faults("POST", "/v1/payment_intents", {"amount": "5"}) == ["currency: missing"]
    assert faults("POST", "/v1/payment_intents/pi_1/hold", {}) == ["POST /v1/payment_intents/pi_1/hold: unknown"]


async def test_every_request_was_one_that_stripe_takes(cases: dict[str, Case]) -> None:
    """Last of the module: of all that the tests above had the adapter ask."""
    server = cases["stripe-page"].stand_in
    assert server is not None
    assert server.refused == []
    assert server.requests
