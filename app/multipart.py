"""multipart/form-data, parsed from memory."""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from app.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: text, or the bytes of a file."""

    name: str
    value: str | bytes

    @property
    def text(self) -> str:
        """The value of an option. Raises InvalidRequestError for a file."""
        if isinstance(self.value, bytes):
            raise InvalidRequestError(f"the part {self.name[:100]!r} is a file; images go in parts named `image`")
        return self.value


def parts_of(body: bytes, content_type: str, *, most: int) -> list[Part]:
    """The parts of a form, in order; at most `most`, so that a body of tiny parts costs no more than one of images.

    Raises InvalidRequestError when it is no whole form.
    """
    parts: list[Part] = []
    whole = False

    def take(name: bytes | None, value: str | bytes) -> None:
        if len(parts) == most:
            raise InvalidRequestError(f"the form has more than {most} parts")
        parts.append(Part((name or b"").decode("utf-8", "replace"), value))

    def take_field(field: Field) -> None:
        value = field.value or b""
        is_file = (field.content_type or "").startswith(("image/", "application/octet-stream"))
        take(field.field_name, value if is_file else value.decode("utf-8", "replace"))

    def take_file(file: File) -> None:
        file.file_object.seek(0)
        take(file.field_name, file.file_object.read())

    def end() -> None:
        nonlocal whole
        whole = True

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequestError("the content type of the form names no boundary")
    in_memory = {"MAX_MEMORY_FILE_SIZE": float("inf")}
    try:
        parser = FormParser("multipart/form-data", take_field, take_file, end, boundary, config=in_memory)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequestError(f"the form cannot be read: {error}"[:300]) from None
    if not whole:
        raise InvalidRequestError("the form is cut short: its closing boundary is missing")
    return parts
