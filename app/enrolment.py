"""From a picture's one face to a row of the gallery, and the answer that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import FaceNotDetectedError, LandmarksMissingError, LowQualityError, MultipleFacesError, kind_of
from app.present import Json, crop_png, quality_json
from app.schemas import EnrollOptions, QualityFilter
from engines.base import Image
from engines.quality import Quality
from gallery.gallery import Gallery
from gallery.types import Enrolment, Idempotency, NewFace


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


def refuse_low_quality(quality: Quality, limits: QualityFilter | None) -> None:
    """Raises LowQualityError naming every limit that the face misses; LandmarksMissingError for a pose limit where the
    pose is not known."""
    if limits is None:
        return
    lows = (("score", limits.min_score), ("sharpness", limits.min_sharpness), ("size_px", limits.min_size_px))
    highs = (("yaw", limits.max_yaw), ("pitch", limits.max_pitch), ("roll", limits.max_roll))
    measured = {name: value for name, value in asdict(quality).items() if value is not None}
    unknown = [f"max_{name}" for name, limit in highs if name not in measured and limit < 180]
    if unknown:
        raise LandmarksMissingError(
            f"the detector finds no landmarks to tell a pose by: leave out {', '.join(unknown)}"
        )
    misses = [f"{name} {measured[name]:.3g} < {limit:g}" for name, limit in lows if measured[name] < limit]
    misses += [
        f"|{name}| {abs(measured[name]):.3g} > {limit:g}" for name, limit in highs if abs(measured.get(name, 0)) > limit
    ]
    if misses:
        raise LowQualityError("the face misses the quality filter: " + ", ".join(misses))


def new_face(data: bytes, embedding: NDArray[np.float32], quality: Quality, crop: Image | None) -> NewFace:
    return NewFace(
        embedding=embedding,
        source_sha256=hashlib.sha256(data).hexdigest(),
        quality={name: value for name, value in quality_json(quality).items() if value is not None},
        crop_png=None if crop is None else crop_png(crop),
    )


def enroll(gallery: Gallery, request: Request, idempotency: tuple[str, str] | None) -> bytes:
    """Writes the faces and returns the JSON answer, both or neither. See FaceService.enroll."""
    for _, error in request.rejected:
        if not request.faces or not kind_of(error).told:
            raise error
    options = request.options
    where, faces = (options.collection, options.identity), [face for _, face in request.faces]

    def render(done: Enrolment) -> bytes:
        return orjson.dumps(_answer(request, done))

    if idempotency is None:
        return render(gallery.enroll(*where, faces, embedder=request.embedder, metadata=options.metadata))
    once = Idempotency(*idempotency, render=render)
    return gallery.enroll_once(*where, faces, embedder=request.embedder, metadata=options.metadata, idempotency=once)


def _answer(request: Request, done: Enrolment) -> Json:
    stored = [(index, face) for (index, _), face in zip(request.faces, done.faces, strict=True)]
    fresh = [face.face_id for _, face in stored if face.duplicate_of is None]
    rejected = [(index, error, kind_of(error)) for index, error in request.rejected]
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
        "rejected": [{"index": index, "code": kind.code, "detail": str(error)} for index, error, kind in rejected],
    }
