"""Bodies, forms and bare images -> options and undecoded images."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from app.errors import BodyTimeoutError, BodyTooLargeError, InvalidRequestError, UnsupportedBodyError
from app.execution import ClientGoneError
from app.schemas import (
    DetectOptions,
    DetectRequest,
    EnrollOptions,
    EnrollRequest,
    NewCollection,
    RecognizeOptions,
    RecognizeRequest,
    VerifyOptions,
    VerifyRequest,
)
from app.settings import Settings
from app.wire import Asked, parse_json, read_body, read_images

LIMIT = 4096
SETTINGS = Settings(max_body_bytes=LIMIT, body_timeout_s=0.05, max_images=3)
JPEG = b"\xff\xd8\xff --b-- \r\n-- \0 pixels"
FORM = "multipart/form-data; boundary=b"


def request(chunks: Sequence[bytes], *, query: str = "", gone: bool = False, **headers: str) -> Request:
    """A request whose body comes in `chunks`; a client that leaves or falls silent after them if `gone`."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if not gone:
        messages[-1]["more_body"] = False
    else:
        messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0) if messages else await asyncio.Event().wait()  # type: ignore[return-value]

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": named, "query_string": query.encode(), "path": "/"}, receive)


def form(*parts: tuple[str, bytes]) -> bytes:
    """Parts by the rest of their Content-Disposition."""
    heads = [b"--b\r\nContent-Disposition: form-data; " + about.encode() + b"\r\n\r\n" for about, _ in parts]
    bodies = [head + value + b"\r\n" for head, (_, value) in zip(heads, parts, strict=True)]
    return b"".join(bodies) + b"--b--\r\n"


def read(body: bytes, content_type: str, *models: Any, query: str = "") -> Asked[Any]:
    asked = request([body], query=query, content_type=content_type)
    return asyncio.run(read_images(asked, SETTINGS, *(models or (DetectRequest, DetectOptions))))


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=6))
def test_a_body_is_whole_or_refused_however_it_is_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    reading = read_body(request(chunks), SETTINGS)
    if len(whole) > LIMIT:
        with pytest.raises(BodyTooLargeError, match="larger than 4096 bytes"):
            asyncio.run(reading)
    else:
        assert asyncio.run(reading) == whole


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(request([b"x"], content_length="4097"), SETTINGS))


def test_a_client_that_stops_sending() -> None:
    with pytest.raises(ClientGoneError):
        asyncio.run(read_body(request([b"{"], gone=True), SETTINGS))


def test_a_client_that_sends_too_slowly() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    slow = Request({"type": "http", "headers": []}, receive)
    began = time.monotonic()
    with pytest.raises(BodyTimeoutError, match=r"0\.05 s"):
        asyncio.run(read_body(slow, SETTINGS))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "text/json", ""])
def test_json(content_type: str) -> None:
    asked = read(b'{"image": "AAAA", "min_score": 0.7, "return": []}', content_type)
    assert (asked.pictures, asked.single) == (["AAAA"], True)
    assert (asked.options.min_score, asked.options.return_) == (0.7, ())


def test_json_with_several_images() -> None:
    asked = read(b'{"images": ["AAAA"]}', "application/json")
    assert (asked.pictures, asked.single) == (["AAAA"], False)


def test_a_form_with_a_file_and_options() -> None:
    body = form(
        ('name="image"; filename="a.jpg"', JPEG),
        ('name="normalized"', b"false"),
        ('name="min_score"', b"0.25"),
        ('name="return"', b"landmarks, crop"),
        ('name="return"', b"quality"),
    )
    asked = read(body, FORM)
    assert (asked.pictures, asked.single) == ([JPEG], True)
    assert asked.options == DetectOptions(normalized=False, min_score=0.25, return_=("landmarks", "crop", "quality"))


def test_a_form_with_several_images_as_files_and_as_text() -> None:
    files = [('name="image"; filename="a.jpg"', JPEG), ('name="images"\r\nContent-Type: image/jpeg', JPEG)]
    asked = read(form(*files, ('name="image"', b"AAAA")), FORM)
    assert (asked.pictures, asked.single) == ([JPEG, JPEG, "AAAA"], False)


def test_a_form_with_a_reference() -> None:
    body = form(('name="image"; filename="a"', JPEG), ('name="reference"; filename="b"', JPEG + b"2"))
    asked = read(body, FORM, VerifyRequest, VerifyOptions)
    assert (asked.pictures, asked.reference) == ([JPEG], JPEG + b"2")


def test_a_form_with_metadata() -> None:
    parts = (('name="image"; filename="a"', JPEG), ('name="identity"', "Zoë".encode()))
    asked = read(form(*parts, ('name="metadata"', b'{"team": ["blue"]}')), FORM, EnrollRequest, EnrollOptions)
    assert (asked.options.identity, asked.options.metadata) == ("Zoë", {"team": ["blue"]})
    with pytest.raises(InvalidRequestError, match="metadata: not JSON"):
        read(form(*parts, ('name="metadata"', b"{NaN}")), FORM, EnrollRequest, EnrollOptions)


@given(st.lists(st.binary(max_size=300).filter(lambda data: b"\r\n--b" not in data), min_size=1, max_size=3))
def test_files_come_out_of_a_form_as_they_went_in(files: list[bytes]) -> None:
    body = form(*(('name="image"; filename="a"', data) for data in files))
    assert list(read(body, FORM).pictures) == files


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (form(('name="min_score"', b"0.5")), "no part `image`"),
        (form(('name="image"', b"AAAA"), ('name="min_score"', b"1"), ('name="min_score"', b"1")), "more than once"),
        (form(('name="image"', b"AAAA"), ('name="min_score"; filename="f"', b"1")), "is a file"),
        (form(('name="image"', b"AAAA"), ('name="unknown"', b"1")), "unknown"),
        (form(*[('name="image"', b"AAAA")] * 4), "4 images; at most 3"),
        (form(*[('name="x"', b"")] * 40), "more than"),
        (form(('name="image"', b"AAAA"))[:-6], "cut short"),
        (b"no form at all", "cannot be read"),
    ],
)
def test_a_bad_form(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        read(body, FORM)


def test_a_bare_image_with_options_in_the_query() -> None:
    query = urlencode({"return": "crop,quality", "small_scale": "false", "threshold": "-0.5", "collection": "ä b"})
    asked = read(JPEG, "image/jpeg", RecognizeRequest, RecognizeOptions, query=query)
    assert (asked.pictures, asked.single) == ([JPEG], True)
    assert (asked.options.return_, asked.options.small_scale) == (("crop", "quality"), False)
    assert (asked.options.threshold, asked.options.collection) == (-0.5, "ä b")


@pytest.mark.parametrize("query", ["threshold=nan", "threshold=2", "top_k=0", "who=me", "&".join(["a=b"] * 200)])
def test_a_bad_query(query: str) -> None:
    with pytest.raises(InvalidRequestError):
        read(JPEG, "image/png", RecognizeRequest, RecognizeOptions, query=query)


def test_options_are_not_looked_for_in_two_places() -> None:
    with pytest.raises(InvalidRequestError, match="options go in the body"):
        read(b'{"image": "AAAA"}', "application/json", query="min_score=0.9")


def test_other_content_types_are_refused() -> None:
    with pytest.raises(UnsupportedBodyError, match="application/x-www-form-urlencoded is not accepted: send"):
        read(b"image=AAAA", "application/x-www-form-urlencoded")


def test_errors_name_the_field_and_never_repeat_the_input() -> None:
    secret = "c2VjcmV0" * 100
    with pytest.raises(InvalidRequestError) as caught:
        parse_json(json.dumps({"image": [secret], "min_score": secret, secret: 1}).encode(), DetectRequest)
    fields = {error["field"] for error in caught.value.errors}
    assert {"image", "min_score"} <= fields
    assert len(str(caught.value)) < 1000
    assert f"{secret}{secret}" not in str(caught.value)


def test_an_empty_body_is_told_apart() -> None:
    with pytest.raises(InvalidRequestError, match="the body is empty"):
        parse_json(b"", NewCollection)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_no_number_that_is_none_gets_into_metadata(number: str) -> None:
    with pytest.raises(InvalidRequestError, match="not JSON"):
        parse_json(f'{{"image": "AAAA", "identity": "a", "metadata": {{"n": {number}}}}}'.encode(), EnrollRequest)
