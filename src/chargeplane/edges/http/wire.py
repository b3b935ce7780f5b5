"""JSON in and out: strict decoding of bodies with a pointer per wrong field, and numbers as JSON numbers.

Litestar would decode a body leniently ("1" as 1) and by way of Python objects; here the bytes go straight into the
handler's struct, so that unknown fields are refused and a raw payload keeps its text.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.dto import AbstractDTO, DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from chargeplane.edges.http.problems import FieldProblem, ProblemError, invalid_body
from chargeplane.kernel.text import storable

ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
"""Encodes answers: Decimals as JSON numbers, times as RFC 3339."""

MAX_DEPTH: Final = 64
"""Nesting that a body may have."""

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode_body(body: bytes, kind: Any, content_type: str) -> Any:
    """The body as `kind`.

    Args:
        content_type: media type without parameters; empty where the header is absent, which is taken as JSON.
    Raises:
        ProblemError: 415 not JSON by its header, 400 not JSON, 422 JSON that does not fit.
    """
    if content_type and content_type != "application/json" and not content_type.endswith("+json"):
        raise ProblemError(
            415,
            "unsupported-media-type",
            f"The body was sent as '{content_type}'; send it with 'Content-Type: application/json'.",
        )
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        body.decode()  # msgspec checks only the strings it keeps
        value = decoder.decode(body)
        refuse_unstorable(value, "", 0)
    except msgspec.ValidationError as error:
        raise invalid_body(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, "malformed-request", f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise ProblemError(400, "malformed-request", f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    return value


def refuse_unstorable(value: object, pointer: str, depth: int) -> None:
    """Refuses texts that PostgreSQL does not take, and deep nesting.

    Raises:
        ProblemError: naming the field.
        RecursionError: the value is nested deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if not storable(value):
            sentence = "The text holds U+0000 or a lone surrogate, which cannot be stored"
            raise ProblemError(
                422,
                "invalid-input",
                f"{sentence}.",
                errors=[FieldProblem(detail=sentence, pointer="#" + pointer)],
            )
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            refuse_unstorable(getattr(value, name), f"{pointer}/{name}", depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            refuse_unstorable(name, pointer, depth + 1)
            refuse_unstorable(inner, f"{pointer}/{name}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            refuse_unstorable(inner, f"{pointer}/{index}", depth + 1)


class Wire(AbstractDTO[Any]):
    """Tells Litestar to leave bodies to `decode_body` and answers to `ENCODER`; the types stay in the OpenAPI document."""

    config = DTOConfig()
    model_type = object

    def decode_bytes(self, value: bytes) -> Any:
        """The request's body as the type of the handler's `data`."""
        connection = self.asgi_connection
        assert isinstance(connection, Request)
        field = connection.route_handler.parsed_data_field
        assert field is not None
        return decode_body(value, field.annotation, connection.content_type[0])

    def data_to_encodable_type(self, data: Any) -> Any:
        """The answer as JSON text that the framework passes on as it is."""
        if isinstance(data, Response):
            if isinstance(data.content, msgspec.Struct):
                data.content = msgspec.Raw(ENCODER.encode(data.content))
            return data
        if isinstance(data, msgspec.Struct):
            return msgspec.Raw(ENCODER.encode(data))
        return data

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        """Every type goes through here."""
        return True

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Nothing to prepare: decoders are made on first use."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the struct itself."""
        if field_definition.is_subclass_of(Response):
            inner = field_definition.inner_types
            field_definition = inner[0] if inner else FieldDefinition.from_annotation(Any)
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """Unused: no transfer model is made."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Unused: no transfer model is made."""
        return False


def compact(raw: msgspec.Raw) -> bytes:
    """The JSON without insignificant white space; keys in their order, numbers and texts as they were written."""
    return msgspec.json.format(bytes(raw), indent=-1)
