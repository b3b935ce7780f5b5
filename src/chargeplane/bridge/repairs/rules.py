"""The repairs that any station may need, as data: a name that never changes and a sentence for the operator.

They are tried only after a message failed to decode as its version's schema asks, so a good message never pays for
them. A rule that fired is counted by the caller per station, under its name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class Rule(enum.StrEnum):
    """Names of the global repairs. The names are stored with samples and counts: add, never rename."""

    # text that is not JSON
    JSON_VALUE_MISSING = "json_value_missing"
    JSON_EXTRA_COMMA = "json_extra_comma"
    JSON_NOT_A_NUMBER = "json_not_a_number"
    JSON_NUMBER_FORM = "json_number_form"
    JSON_CONTROL_CHARACTER = "json_control_character"
    JSON_ESCAPE = "json_escape"
    JSON_PADDING = "json_padding"
    TEXT_ENCODING = "text_encoding"
    # JSON that is not the schema's shape
    OBJECT_FOR_LIST = "object_for_list"
    LIST_FOR_OBJECT = "list_for_object"
    VALUE_FOR_OBJECT = "value_for_object"
    NULL_PAYLOAD = "null_payload"
    NULL_DROPPED = "null_dropped"
    EMPTY_LIST = "empty_list"
    ITEM_DROPPED = "item_dropped"
    LIST_TOO_LONG = "list_too_long"
    FIELD_SPELLING = "field_spelling"
    FIELD_UNKNOWN = "field_unknown"
    FIELD_MISSING = "field_missing"
    FIELD_UNUSABLE = "field_unusable"
    # values of the wrong kind
    TEXT_TOO_LONG = "text_too_long"
    TEXT_FOR_NUMBER = "text_for_number"
    NUMBER_FOR_TEXT = "number_for_text"
    FRACTION_FOR_INTEGER = "fraction_for_integer"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    VALUE_FOR_FLAG = "value_for_flag"
    WORD_SPELLING = "word_spelling"
    WORD_UNKNOWN = "word_unknown"
    VALUE_UNUSABLE = "value_unusable"


SENTENCES: Final[Mapping[Rule, str]] = MappingProxyType(
    {
        Rule.JSON_VALUE_MISSING: "A field had a name but no value; it was read as absent.",
        Rule.JSON_EXTRA_COMMA: "A list or object had a comma too many; the comma was dropped.",
        Rule.JSON_NOT_A_NUMBER: "NaN or Infinity stood where a number belongs; it was read as absent.",
        Rule.JSON_NUMBER_FORM: "A number was written in a form that JSON does not have; it was rewritten.",
        Rule.JSON_CONTROL_CHARACTER: "A text held raw control characters; they were escaped.",
        Rule.JSON_ESCAPE: "A text held an escape that JSON does not have; it was replaced.",
        Rule.JSON_PADDING: "Bytes stood before or after the message; they were dropped.",
        Rule.TEXT_ENCODING: "The message was not valid UTF-8; the wrong bytes were replaced.",
        Rule.OBJECT_FOR_LIST: "A single value stood where a list belongs; it was taken as a list of one.",
        Rule.LIST_FOR_OBJECT: "A list of one stood where a single value belongs; its item was taken.",
        Rule.VALUE_FOR_OBJECT: "A bare value stood where an object belongs; it was taken as the object's main field.",
        Rule.NULL_PAYLOAD: "The payload was null or empty; it was read as an object without fields.",
        Rule.NULL_DROPPED: "A field was null; it was read as absent.",
        Rule.EMPTY_LIST: "A list that must have items was empty; it was read as nothing sent.",
        Rule.ITEM_DROPPED: "An item of a list could not be read; the other items were kept.",
        Rule.LIST_TOO_LONG: "A list had more items than the specification allows; they were kept.",
        Rule.FIELD_SPELLING: "A field name differed in upper and lower case or separators; it was matched.",
        Rule.FIELD_UNKNOWN: "A field that the specification does not have was ignored.",
        Rule.FIELD_MISSING: "A required field was absent; the message was taken without it.",
        Rule.FIELD_UNUSABLE: "An optional field could not be read; the message was taken without it.",
        Rule.TEXT_TOO_LONG: "A text was longer than the specification allows; at least its first 255 characters were kept.",
        Rule.TEXT_FOR_NUMBER: "A number was sent as text; it was read as the number.",
        Rule.NUMBER_FOR_TEXT: "A text was sent as a number or true/false; it was read as the text.",
        Rule.FRACTION_FOR_INTEGER: "A whole number was sent with decimals; it was rounded.",
        Rule.NUMBER_OUT_OF_RANGE: "A number was outside of what the specification or we can hold; it was dropped.",
        Rule.VALUE_FOR_FLAG: "True or false was sent as a text or number; it was read as the flag.",
        Rule.WORD_SPELLING: "A word differed from the specification's in case or separators; it was matched.",
        Rule.WORD_UNKNOWN: "A word is not among the specification's; it was kept as sent.",
        Rule.VALUE_UNUSABLE: "A meter value was not a number; it was kept as text without a number.",
    }
)
"""What each rule does, one sentence for the operator."""
