"""The service as a library: the routes' answers without HTTP.

from app.sdk import open_pipeline

with open_pipeline(data_dir="data") as faces:
    faces.enroll(base64_text, identity="alice")
    print(faces.recognize(base64_text))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from app.build import open_service
from app.images import decode_base64
from app.present import Json, new_request_id
from app.schemas import (
    AnnotateOptions,
    DetectOptions,
    EmbedOptions,
    EnrollOptions,
    RecognizeOptions,
    SearchRequest,
    VerifyOptions,
)
from app.service import FaceService
from app.settings import Settings

Picture = str | bytes
"""Base64 text (with or without a `data:` prefix), or the bytes of an image file. Never a path."""


class FaceClient:
    """Each method takes a picture and the route's options by name, and returns the route's JSON as a dict.

    May be called from any thread. Raises pydantic's ValidationError for options that do not exist, and the errors of
    `app/errors.py`'s table.
    """

    def __init__(self, service: FaceService) -> None:
        self.service = service

    def detect(self, picture: Picture, **options: Any) -> Json:
        return _identified(self.service.detect(_bytes(picture), DetectOptions(**options)))

    def recognize(self, picture: Picture, **options: Any) -> Json:
        return _identified(self.service.recognize(_bytes(picture), RecognizeOptions(**options)))

    def embed(self, picture: Picture, **options: Any) -> Json:
        return _identified(self.service.embed(_bytes(picture), EmbedOptions(**options)))

    def search(self, embeddings: Sequence[list[float] | str], **options: Any) -> Json:
        """The identities nearest to ready embeddings, each a list of numbers or base64 of little-endian float32."""
        asked = SearchRequest(embeddings=list(embeddings), **options)
        return {"request_id": new_request_id()} | self.service.search(asked)

    def verify(self, picture: Picture, reference: Picture | None = None, **options: Any) -> Json:
        other = None if reference is None else _bytes(reference)
        return _identified(self.service.verify(_bytes(picture), other, VerifyOptions(**options)))

    def annotate(self, picture: Picture, **options: Any) -> bytes:
        """The image with boxes and names drawn on it, as JPEG (or PNG, by `format`)."""
        return self.service.annotate(_bytes(picture), AnnotateOptions(**options))[0]

    def enroll(self, picture: Picture, **options: Any) -> Json:
        chosen = EnrollOptions(**options)
        prepared = self.service.prepare(_bytes(picture), chosen)
        answer: Json = orjson.loads(self.service.enroll([prepared], chosen, request_id=new_request_id()))
        return answer


@contextmanager
def open_pipeline(**settings: Any) -> Iterator[FaceClient]:
    """Loads the engines and opens the gallery under `data_dir`; both are freed at the end of the block.

    Keywords are the settings of the README's table in lower case; the environment (`FACESERVE_*`) fills the rest.
    """
    with open_service(Settings(**settings)) as service:
        yield FaceClient(service)


def _bytes(picture: Picture) -> bytes:
    return decode_base64(picture) if isinstance(picture, str) else picture


def _identified(answer: Json) -> Json:
    answer["timings_ms"]["queue"] = 0.0
    return {"request_id": new_request_id()} | answer
