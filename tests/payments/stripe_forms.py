"""What Stripe takes, by the types of its SDK, which Stripe makes of its OpenAPI document of the same version."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, NotRequired, Required, Union

import stripe
from stripe import params as of
from stripe._stripe_object import UntypedStripeObject
from stripe.params.checkout import SessionCreateParams, SessionExpireParams, SessionRetrieveParams
from typing_extensions import is_typeddict

Tree = dict[str, Any]
"""A form: text, or a tree by what stands in brackets; lists by their numbers."""

_PLACES: Mapping[tuple[str, str], type] = {
    ("POST", "/v1/checkout/sessions"): SessionCreateParams,
    ("GET", "/v1/checkout/sessions/{id}"): SessionRetrieveParams,
    ("POST", "/v1/checkout/sessions/{id}/expire"): SessionExpireParams,
    ("POST", "/v1/customers"): of.CustomerCreateParams,
    ("POST", "/v1/payment_intents"): of.PaymentIntentCreateParams,
    ("GET", "/v1/payment_intents/{id}"): of.PaymentIntentRetrieveParams,
    ("POST", "/v1/payment_intents/{id}/cancel"): of.PaymentIntentCancelParams,
    ("POST", "/v1/payment_intents/{id}/capture"): of.PaymentIntentCaptureParams,
    ("POST", "/v1/payment_intents/{id}/confirm"): of.PaymentIntentConfirmParams,
    ("POST", "/v1/payment_intents/{id}/increment_authorization"): of.PaymentIntentIncrementAuthorizationParams,
    ("GET", "/v1/refunds"): of.RefundListParams,
    ("POST", "/v1/refunds"): of.RefundCreateParams,
}
_ID = re.compile(r"/(cs_test|pi|re|cus|ch|pm)_[A-Za-z0-9]+")


def place_of(path: str) -> str:
    """A path with `{id}` where an id stands."""
    return _ID.sub("/{id}", path)


def tree_of(pairs: Iterable[tuple[str, str]]) -> Tree:
    """The form `a[b][0]=c` as a tree."""
    root: Tree = {}
    for name, value in pairs:
        keys = [name.split("[", 1)[0], *re.findall(r"\[([^\]]*)\]", name)]
        here = root
        for key in keys[:-1]:
            here = here.setdefault(key, {})
        assert keys[-1] not in here, f"{name} stands there twice"
        here[keys[-1]] = value
    return root


def faults(method: str, path: str, form: Tree) -> list[str]:
    """What Stripe would not take of a request, by its SDK's types; the place is unknown where there is none such."""
    wanted = _PLACES.get((method, place_of(path)))
    if wanted is None:
        return [f"{method} {path}: unknown"]
    return list(_of_fields(wanted, form, ""))


@cache
def _fields(kind: type) -> dict[str, Any]:
    # What the SDK takes beside the form (keys, versions) is no parameter of Stripe's.
    beside = stripe.RequestOptions.__annotations__
    own = {name: hint for name, hint in kind.__annotations__.items() if name not in beside}
    return typing.get_type_hints(
        type("Fields", (), {"__annotations__": own}), vars(sys.modules[kind.__module__]), include_extras=True
    )


def _of_fields(kind: type, form: Any, at: str) -> Iterable[str]:
    if not isinstance(form, dict):
        yield f"{at}: must have fields"
        return
    fields = _fields(kind)
    for name, value in form.items():
        where = f"{at}.{name}".lstrip(".")
        if name not in fields:
            yield f"{where}: unknown"
        else:
            yield from _of_value(fields[name], value, where)
    for name, hint in fields.items():
        if typing.get_origin(hint) is not NotRequired and name not in form:
            yield f"{at}.{name}: missing".lstrip(".")


def _of_value(hint: Any, value: Any, at: str) -> list[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, str):
        raise AssertionError(f"{at}: a type that is not resolved: {hint}")
    if origin in (NotRequired, Required):
        return _of_value(inner[0], value, at)
    if origin in (Union, types.UnionType):
        words = [one for one in inner if typing.get_origin(one) is Literal and typing.get_args(one) != ("",)]
        # `Literal[...] | str` is open for words to come; of ours each is one that is known.
        tried = [_of_value(one, value, at) for one in inner if not (words and one is str)]
        return (
            []
            if any(not one for one in tried)
            else max(tried, key=lambda found: (-len(found), "must be one of" not in found[0]))
        )
    if origin is Literal:
        return [] if value in inner else [f"{at}: must be one of {inner}"]
    if origin in (list, typing.List):  # noqa: UP006
        if not isinstance(value, dict) or sorted(value) != sorted(str(number) for number in range(len(value))):
            return [f"{at}: must be a list"]
        return [fault for number, one in value.items() for fault in _of_value(inner[0], one, f"{at}[{number}]")]
    if origin in (dict, UntypedStripeObject):
        texts = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        return [] if texts else [f"{at}: must be texts by names"]
    if is_typeddict(hint):
        return list(_of_fields(hint, value, at))
    if not isinstance(value, str):
        return [f"{at}: must be a value"]
    if hint is int:
        return [] if re.fullmatch(r"-?\d+", value) else [f"{at}: must be a whole number"]
    if hint is bool:
        return [] if value in ("true", "false") else [f"{at}: must be true or false"]
    if hint is str:
        return []
    raise AssertionError(f"{at}: a type that is not known here: {hint}")
