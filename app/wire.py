"""The wire: one streamed read under limits, then JSON, a form or a bare image -> options and undecoded images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.errors import BodyTimeoutError, BodyTooLargeError, InvalidRequestError, UnsupportedBodyError
from app.execution import ClientGoneError, TimeLimit
from app.multipart import Part, parts_of
from app.schemas import Options, OptionsT
from app.settings import Settings

Picture = str | bytes
"""An image as it came: base64 text, or the bytes of an image file."""
JSON_TYPES = frozenset({"application/json", "text/json", ""})
LISTS, OBJECTS = frozenset({"return"}), frozenset({"filter", "metadata", "quality_filter"})
"""Options that are not one value: as text, a comma-separated list or JSON."""
SHOWN_ERRORS, SHOWN_FIELD = 20, 100
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked(Generic[OptionsT]):
    """What a request asks for. `single`: one image was given as such, so one answer is expected, not a list."""

    options: OptionsT
    pictures: Sequence[Picture]
    single: bool
    reference: Picture | None = None


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body, read once.

    Raises BodyTooLargeError as soon as it is known to be larger than the limit (nothing beyond it is kept),
    BodyTimeoutError when the client is too slow, ClientGoneError when it leaves.
    """
    limit = settings.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    with TimeLimit(settings.body_timeout_s, lambda: _too_slow(settings.body_timeout_s)):
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk, more = message["body"], message["more_body"]
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_images(
    request: Request, settings: Settings, model: type[BaseModel], options: type[OptionsT]
) -> Asked[OptionsT]:
    """The images and options of a compute route. `model` is its JSON body, `options` what a form or a query may say.

    Raises what `read_body` raises, UnsupportedBodyError and InvalidRequestError.
    """
    body = await read_body(request, settings)
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    bare = kind.startswith("image/") or kind == "application/octet-stream"
    if request.scope["query_string"] and not bare:
        raise InvalidRequestError("options go in the body; only with a bare image do they go in the query")
    if kind in JSON_TYPES:
        asked = _from_json(body, model)
    elif kind == "multipart/form-data":
        asked = _from_form(
            parts_of(body, content_type, most=settings.max_images + len(options.model_fields) + 1), options
        )
    elif bare:
        asked = Asked(_from_text(_query(request), options), [body], single=True)
    else:
        raise UnsupportedBodyError(
            f"{kind[:SHOWN_FIELD]} is not accepted: send application/json, multipart/form-data or image/*"
        )
    if len(asked.pictures) > settings.max_images:
        raise _invalid_field("images", f"{len(asked.pictures)} images; at most {settings.max_images} a request")
    return asked


async def read_json(request: Request, settings: Settings, model: type[ModelT]) -> ModelT:
    """A JSON body without images, checked against `model`."""
    return parse_json(await read_body(request, settings), model)


def parse_json(body: bytes, model: type[ModelT]) -> ModelT:
    """`body` as `model`. Raises InvalidRequestError; its messages never repeat the input."""
    if not body:
        raise InvalidRequestError("the body is empty: send JSON")
    try:
        if "metadata" not in model.model_fields:
            return model.model_validate_json(body)
        return model.model_validate(orjson.loads(body))  # half as fast, but lets no NaN into free-form metadata
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None


def invalid(errors: Iterable[Any]) -> InvalidRequestError:
    """pydantic's list of errors as one refusal that names each field."""
    fields = [
        {"field": ".".join(map(str, error["loc"]))[:SHOWN_FIELD], "message": error["msg"].removeprefix("Value error, ")}
        for error, _ in zip(errors, range(SHOWN_ERRORS), strict=False)
    ]
    told = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in fields)
    return InvalidRequestError(told, errors=fields)


def _from_json(body: bytes, model: type[BaseModel]) -> Asked[Any]:
    asked: Any = parse_json(body, model)
    given = vars(asked)
    images = given.get("images")
    pictures = [given["image"]] if images is None else images
    return Asked(asked, pictures, single=images is None, reference=given.get("reference"))


def _from_form(parts: Sequence[Part], options: type[OptionsT]) -> Asked[OptionsT]:
    pictures = [part.value for part in parts if part.name in ("image", "images")]
    references = [part.value for part in parts if part.name == "reference"]
    texts = [(part.name, part.text) for part in parts if part.name not in ("image", "images", "reference")]
    if not pictures:
        raise _invalid_field("image", "the form has no part `image`")
    if len(references) > 1:
        raise _invalid_field("reference", "given more than once")
    single = len(pictures) == 1 and all(part.name != "images" for part in parts)
    return Asked(_from_text(texts, options), pictures, single, references[0] if references else None)


def _from_text(texts: Iterable[tuple[str, str]], options: type[OptionsT]) -> OptionsT:
    """Options from text values. pydantic reads numbers and booleans ("false" is False)."""
    values: dict[str, Any] = {}
    for name, text in texts:
        if name in LISTS:
            values.setdefault(name, []).extend(item.strip() for item in text.split(",") if item.strip())
        elif name in values:
            raise _invalid_field(name, "given more than once")
        else:
            values[name] = _object(name, text) if name in OBJECTS else text
    try:
        return options.model_validate(values)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None


def _object(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid_field(name, f"not JSON: {error}") from None


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        return parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=len(Options.model_fields) + 100)
    except ValueError:
        raise InvalidRequestError("the query has too many fields") from None


def _invalid_field(field: str, message: str) -> InvalidRequestError:
    field = field[:SHOWN_FIELD]
    return InvalidRequestError(f"{field}: {message}", errors=[{"field": field, "message": message}])


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {limit} bytes")


def _too_slow(seconds: float) -> BodyTimeoutError:
    return BodyTimeoutError(f"the body was not whole within {seconds:g} s")
