"""Forms with files (multipart/form-data), read piece by piece: fields are kept, the one file goes on as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from chargeplane.kernel.errors import PeerError

_MAX_FIELD: Final = 16 * 1024
_MAX_PARTS: Final = 50


class FormError(PeerError):
    """A body that is no form, or none with a file."""


class Form(Struct):
    """What a form held beside its file.

    Args:
        filename, content_type: of the file; None where the form does not say.
    """

    fields: dict[str, str]
    filename: str | None = None
    content_type: str | None = None


def boundary_of(content_type: str) -> str | None:
    """The boundary of a form; None where the content type is another."""
    kind, options = parse_options_header(content_type)
    if not kind.lower().startswith("multipart/"):
        return None
    return options.get("boundary") or None


def filename_in(disposition: str) -> str | None:
    """The file's name in a Content-Disposition header."""
    if not disposition:
        return None
    _, options = parse_options_header(disposition)
    return options.get("filename") or None


async def read_form(
    boundary: str, body: AsyncIterator[bytes], write: Callable[[bytes], Awaitable[None]], *, lenient: bool = False
) -> Form:
    """Reads a form; its file goes to `write`.

    Args:
        lenient: the first part is the file, whatever it is called (stations name it freely, or not at all).
    Raises:
        FormError: the body is no form, is not complete, or holds no file.
    """
    parser = PushMultipartParser(boundary, max_segment_count=_MAX_PARTS)
    form = Form(fields={})
    segment: MultipartSegment | None = None
    field = bytearray()
    in_file = has_file = False
    try:
        async for piece in body:
            for event in parser.parse(piece) if piece else ():
                if isinstance(event, MultipartSegment):
                    segment, field = event, bytearray()
                    in_file = not has_file and (event.filename is not None or lenient)
                    if in_file:
                        has_file = True
                        form.filename, form.content_type = event.filename or None, event.content_type
                elif event:
                    if in_file:
                        await write(bytes(event))
                    elif len(field) + len(event) > _MAX_FIELD:
                        raise FormError(f"A field of the form has more than {_MAX_FIELD} bytes.")
                    else:
                        field += event
                elif segment is not None and not in_file:
                    form.fields[segment.name or ""] = field.decode("utf-8", "replace")
        for _ in parser.parse(b""):
            pass
    except MultipartError as error:
        raise FormError(f"The form cannot be read: {error}.") from error
    if not has_file:
        raise FormError("The form holds no file.")
    return form
