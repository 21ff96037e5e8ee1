"""The compute routes: images in, faces out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app import observability
from app.deps import BareRoute, JsonAnswer, deps_of, request_id_of
from app.errors import InvalidRequestError, kind_of, problem
from app.images import decode_base64
from app.openapi import PICTURE, answers, content, images_in
from app.present import Json
from app.schemas import (
    AnnotateOptions,
    AnnotateRequest,
    DetectOptions,
    DetectRequest,
    EmbedOptions,
    EmbedRequest,
    OptionsT,
    RecognizeOptions,
    RecognizeRequest,
    VerifyOptions,
    VerifyRequest,
)
from app.wire import Asked, Picture, read_images
from gallery.types import GalleryError

router = APIRouter(tags=["faces"], route_class=BareRoute, default_response_class=Response)
Work = Callable[[bytes, OptionsT], Json]
log = logging.getLogger("faceserve")


@router.post("/detect", openapi_extra=images_in(DetectRequest, DetectOptions, answers("DetectAnswer", "DetectBatch")))
async def detect(request: Request) -> Response:
    """The faces of an image: box, score, landmarks; quality and aligned crop on demand. None is no error."""
    return await _each(request, DetectRequest, DetectOptions, deps_of(request).service.detect)


@router.post(
    "/recognize",
    openapi_extra=images_in(RecognizeRequest, RecognizeOptions, answers("RecognizeAnswer", "RecognizeBatch")),
)
async def recognize(request: Request) -> Response:
    """Who is on an image: every face found, named from a collection where it is similar enough to someone."""
    return await _each(request, RecognizeRequest, RecognizeOptions, deps_of(request).service.recognize)


@router.post("/embed", openapi_extra=images_in(EmbedRequest, EmbedOptions, answers("EmbedAnswer", "EmbedBatch")))
async def embed(request: Request) -> Response:
    """The faces of an image with their embeddings, or the embedding of a ready aligned crop."""
    return await _each(request, EmbedRequest, EmbedOptions, deps_of(request).service.embed)


@router.post("/verify", openapi_extra=images_in(VerifyRequest, VerifyOptions, answers("VerifyAnswer")))
async def verify(request: Request) -> Response:
    """Whether the largest faces of two images, or of an image and an identity, are one person's (1:1)."""
    deps = deps_of(request)
    with deps.execution.admission:
        asked = await read_images(request, deps.settings, VerifyRequest, VerifyOptions)
        _refuse_unless_one(asked)
        if (asked.reference is None) == (asked.options.identity is None):
            raise InvalidRequestError("give either `reference` or `identity`")

        def work(waited_ms: float) -> Json:
            other = None if asked.reference is None else bytes_of(asked.reference)
            return _timed(deps.service.verify(bytes_of(asked.pictures[0]), other, asked.options), waited_ms)

        answer = await deps.execution.one(request.receive, work)
    return JsonAnswer({"request_id": request_id_of(request)} | answer)


@router.post("/annotate", openapi_extra=images_in(AnnotateRequest, AnnotateOptions, content(PICTURE)))
async def annotate(request: Request) -> Response:
    """The image back, with boxes, landmarks and names drawn on it."""
    deps = deps_of(request)
    with deps.execution.admission:
        asked = await read_images(request, deps.settings, AnnotateRequest, AnnotateOptions)
        _refuse_unless_one(asked)
        drawn, media_type = await deps.execution.one(
            request.receive, lambda _: deps.service.annotate(bytes_of(asked.pictures[0]), asked.options)
        )
    return Response(drawn, media_type=media_type)


def bytes_of(picture: Picture) -> bytes:
    """The image file's bytes. Raises InvalidImageError when base64 text is not base64."""
    return decode_base64(picture) if isinstance(picture, str) else picture


async def _each(request: Request, model: type[BaseModel], options: type[OptionsT], work: Work[OptionsT]) -> Response:
    deps = deps_of(request)
    with deps.execution.admission:
        asked = await read_images(request, deps.settings, model, options)
        jobs = [partial(_answer_one, work, picture, asked.options) for picture in asked.pictures]
        results = await deps.execution.each(request.receive, jobs)
    route, request_id = request.scope["path"], request_id_of(request)
    for result in results:
        if isinstance(result, GalleryError) or (asked.single and isinstance(result, Exception)):
            raise result  # the collection's troubles are the whole request's, not one image's
    answers = [_shown(result, request) for result in results]
    observability.faces_answered(route, sum(len(answer.get("faces", ())) for answer in answers))
    return JsonAnswer(answers[0] if asked.single else {"request_id": request_id, "results": answers})


def _answer_one(work: Work[OptionsT], picture: Picture, options: OptionsT, waited_ms: float) -> Json:
    return _timed(work(bytes_of(picture), options), waited_ms)


def _timed(answer: Json, waited_ms: float) -> Json:
    timings = answer["timings_ms"]
    timings["queue"] = round(waited_ms, 3)
    timings["total"] = round(timings["total"] + waited_ms, 3)
    return answer


def _shown(result: Json | Exception, request: Request) -> Json:
    request_id = request_id_of(request)
    if not isinstance(result, Exception):
        return {"request_id": request_id} | result
    if not kind_of(result).told:
        log.error("an image of request %s failed", request_id, exc_info=result)
    return problem(result, request_id=request_id, instance=request.scope["path"])


def _refuse_unless_one(asked: Asked[Any]) -> None:
    if len(asked.pictures) != 1:
        raise InvalidRequestError(f"this route takes one image; got {len(asked.pictures)}")
