"""The values of the cache: what a photo showed, and its one face, as bytes (float32, little-endian)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detector import Detections

_COUNTS = struct.Struct("<ii")  # faces (_UNREADABLE: no picture), then landmarks a face or numbers an embedding
_UNREADABLE = -1
_FLOAT = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Face:
    """The one that was chosen of the `faces` of a photo: `embedding` (D,) of unit length, `box` (4,) x1 y1 x2 y2 in px
    and `score` 0..1. The arrays are float32."""

    embedding: NDArray[np.float32]
    box: NDArray[np.float32]
    score: float
    faces: int


NO_FACE = Face(np.empty(0, np.float32), np.full(4, np.nan, np.float32), float("nan"), 0)
"""Of a photo in which none is found."""


def pack_detections(found: Detections | None) -> bytes:
    """None stands for a picture that could not be decoded."""
    if found is None:
        return _COUNTS.pack(_UNREADABLE, 0)
    arrays = (found.boxes, found.scores, found.landmarks)
    return _COUNTS.pack(len(found), found.landmarks.shape[1]) + b"".join(map(_bytes, arrays))


def unpack_detections(kept: bytes) -> Detections | None:
    """What `pack_detections` was given; the arrays are the caller's."""
    faces, points = _COUNTS.unpack_from(kept)
    if faces == _UNREADABLE:
        return None
    boxes, scores, landmarks = np.split(_floats(kept), (4 * faces, 5 * faces))
    return Detections(boxes.reshape(faces, 4), scores, landmarks.reshape(faces, points, 2))


def pack_face(face: Face) -> bytes:
    """The bytes of one chosen face, or of none."""
    score = np.array([face.score], np.float32)
    arrays = (face.box, score, face.embedding)
    return _COUNTS.pack(face.faces, len(face.embedding)) + b"".join(map(_bytes, arrays))


def unpack_face(kept: bytes) -> Face:
    """What `pack_face` was given; the arrays are the caller's."""
    faces, _ = _COUNTS.unpack_from(kept)
    numbers = _floats(kept)
    return Face(embedding=numbers[5:], box=numbers[:4], score=float(numbers[4]), faces=faces)


def _bytes(array: NDArray[np.float32]) -> bytes:
    return array.astype(_FLOAT).tobytes()


def _floats(kept: bytes) -> NDArray[np.float32]:
    return np.frombuffer(kept, _FLOAT, offset=_COUNTS.size).astype(np.float32)
