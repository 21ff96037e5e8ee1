"""From a picture's one face to a row of the gallery, and the answer that says so."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import (
    FaceNotDetectedError,
    LandmarksMissingError,
    LowQualityError,
    MultipleFacesError,
    ServiceError,
    kind_of,
)
from app.present import FRACTION_DIGITS, Json, crop_png, quality_json
from app.schemas import EnrollOptions, QualityFilter
from engines.base import Image
from engines.quality import Quality
from gallery.gallery import Gallery
from gallery.types import Enrolment, GalleryError, Idempotency, Match, NewFace

Lookalikes = Callable[[str, Enrolment, Sequence[NewFace]], list[Match] | None]
log = logging.getLogger("faceserve")


@dataclass(frozen=True, slots=True)
class Request:
    """One enrolment: per image a face or what was wrong with it, in the order the images came."""

    prepared: Sequence[NewFace | Exception]
    options: EnrollOptions
    embedder: str
    request_id: str

    @property
    def faces(self) -> list[tuple[int, NewFace]]:
        return [(index, face) for index, face in enumerate(self.prepared) if isinstance(face, NewFace)]

    @property
    def rejected(self) -> list[tuple[int, Exception]]:
        return [(index, error) for index, error in enumerate(self.prepared) if isinstance(error, Exception)]


def refuse_unless_one(faces: int) -> None:
    """Enrolment takes exactly one face a picture: whose name would the others get?"""
    if faces == 0:
        raise FaceNotDetectedError("no face was found: send a picture that shows the face from the front")
    if faces > 1:
        raise MultipleFacesError(f"{faces} faces were found: send a picture of one person, or set `max_faces` to 1")


def refuse_low_quality(quality: Quality, detection_score: float, limits: QualityFilter | None) -> None:
    """Raises LowQualityError naming every limit that the face misses, each in `errors` too; LandmarksMissingError for a
    pose limit where the pose is not known. `detection_score` is the detector's, 0..1."""
    if limits is None:
        return
    measured = {name: value for name, value in asdict(quality).items() if value is not None}
    measured["detection_score"] = detection_score
    lows = {name: getattr(limits, f"min_{name}") for name in ("score", "detection_score", "sharpness", "size_px")}
    highs = {name: getattr(limits, f"max_{name}") for name in ("yaw", "pitch", "roll")}
    unknown = [f"max_{name}" for name, limit in highs.items() if name not in measured and limit < 180]
    if unknown:
        raise LandmarksMissingError(
            f"the detector finds no landmarks to tell a pose by: leave out {', '.join(unknown)}"
        )
    misses = {
        f"min_{name}": f"{name} {measured[name]:.3g} < {limit:g}"
        for name, limit in lows.items()
        if measured[name] < limit
    } | {
        f"max_{name}": f"|{name}| {abs(measured[name]):.3g} > {limit:g}"
        for name, limit in highs.items()
        if abs(measured.get(name, 0)) > limit
    }
    if misses:
        errors = [{"field": f"quality_filter.{limit}", "message": message} for limit, message in misses.items()]
        raise LowQualityError("the face misses the quality filter: " + ", ".join(misses.values()), errors=errors)


def new_face(data: bytes, embedding: NDArray[np.float32], quality: Quality, crop: Image | None) -> NewFace:
    return NewFace(
        embedding=embedding,
        source_sha256=hashlib.sha256(data).hexdigest(),
        quality={name: value for name, value in quality_json(quality).items() if value is not None},
        crop_png=None if crop is None else crop_png(crop),
    )


def enroll(
    gallery: Gallery, request: Request, idempotency: tuple[str, str] | None, lookalikes: Lookalikes | None
) -> bytes:
    """Writes the faces and returns the JSON answer, both or neither. See FaceService.enroll.

    `lookalikes` finds whom to warn of; None looks for nobody.
    """
    for _, error in request.rejected:
        if not request.faces or not kind_of(error).told:
            raise error
    options = request.options
    where, faces = (options.collection, options.identity), [face for _, face in request.faces]
    if idempotency is None:
        done = gallery.enroll(
            *where, faces, embedder=request.embedder, metadata=options.metadata, expires_at=_end(options)
        )
        return orjson.dumps(_answer(request, done) | {"warnings": _warnings(request, done, lookalikes)})
    fresh: list[Enrolment] = []

    def render(done: Enrolment) -> bytes:
        # What is kept goes with its own identity, and so must name no other. Repeated, it says nothing of warnings.
        fresh.append(done)
        return orjson.dumps(_answer(request, done) | {"warnings": None})

    once = Idempotency(*idempotency, render=render)
    answer = gallery.enroll_once(
        *where,
        faces,
        embedder=request.embedder,
        metadata=options.metadata,
        expires_at=_end(options),
        idempotency=once,
    )
    if not fresh:
        return answer
    return orjson.dumps(orjson.loads(answer) | {"warnings": _warnings(request, fresh[0], lookalikes)})


def _end(options: EnrollOptions) -> float | None:
    """When the identity is to expire, in seconds since 1970-01-01T00:00Z; None where the request does not say."""
    if options.ttl_s is not None:
        return time.time() + options.ttl_s
    return None if options.expires_at is None else options.expires_at.timestamp()


def _warnings(request: Request, done: Enrolment, lookalikes: Lookalikes | None) -> list[Json] | None:
    """After the enrolment, so that of two at once the later one sees the earlier; None where nobody looked."""
    if lookalikes is None:
        return None
    try:
        found = lookalikes(request.options.collection, done, [face for _, face in request.faces])
    except GalleryError as error:  # the faces are enrolled, and to say otherwise would be worse than not to warn
        log.warning("request %s was enrolled, but not compared with others: %s", request.request_id, error)
        return None
    if found is None:
        return None
    return [
        {
            "code": "similar_identity",
            "identity": match.identity,
            "similarity": round(match.similarity, FRACTION_DIGITS),
        }
        for match in found
    ]


def _answer(request: Request, done: Enrolment) -> Json:
    stored = [(index, face) for (index, _), face in zip(request.faces, done.faces, strict=True)]
    fresh = [face.face_id for _, face in stored if face.duplicate_of is None]
    return {
        "request_id": request.request_id,
        "identity": done.identity,
        "collection": request.options.collection,
        "created": done.created,
        "face_ids": fresh,
        "faces": [
            {"index": index, "face_id": face.face_id, "duplicate_of": face.duplicate_of} for index, face in stored
        ],
        "duplicate_of": None if fresh else stored[0][1].duplicate_of,
        "rejected": [_rejection(index, error) for index, error in request.rejected],
    }


def _rejection(index: int, error: Exception) -> Json:
    errors = {"errors": error.errors} if isinstance(error, ServiceError) and error.errors else {}
    return {"index": index, "code": kind_of(error).code, "detail": str(error)} | errors
