"""Image -> faces: detect, choose, cut out, embed. One image a call, any thread; engines join the calls into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import LandmarksMissingError
from engines.base import Image
from engines.crops import Cropper, Crops
from engines.detector import Detections, Detector
from engines.embedder import Embedder
from engines.families import FAMILIES
from engines.quality import Quality, assess

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """Which detections count as faces. Sizes are the shorter side of a box, in image pixels."""

    min_score: float
    max_faces: int | None = None
    min_face_px: int = 0
    small_scale: bool = True


class Pipeline:
    """The steps from a picture to embeddings. Owns its engines: `close` closes them."""

    def __init__(
        self,
        detector: Detector,
        embedder: Embedder,
        cropper: Cropper,
        *,
        is_serving: Callable[[], bool] = lambda: True,
    ) -> None:
        """`cropper` cuts faces out for that embedder; `is_serving` tells whether the engines are there at this moment,
        where they may come and go."""
        self._detector = detector
        self._embedder = embedder
        self._cropper = cropper
        self._is_serving = is_serving

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self._embedder.dimension

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of a crop."""
        return self._embedder.height, self._embedder.width

    @property
    def fault(self) -> str | None:
        """Why no picture can be worked on any more, or None: then the process is to be replaced."""
        return self._detector.fault or self._embedder.fault

    @property
    def serving(self) -> bool:
        """Whether pictures can be worked on at this moment; if not, it is worth waiting, unless there is a fault."""
        return self._is_serving()

    def detect(self, image: Image, choice: FaceChoice) -> Detections:
        """The faces of `image` that `choice` lets through, best first."""
        found = self._detector.detect(image, min_score=choice.min_score, small_scale=choice.small_scale)
        return _chosen(found, choice)

    def crops(self, image: Image, faces: Detections) -> Crops:
        """The faces cut out as the embedder wants them: (n, h, w, 3) uint8 BGR.

        Raises LandmarksMissingError, faces or none, where it wants them aligned and the detector finds no landmarks.
        """
        if self._cropper.needs_landmarks and not self._detector.points:
            raise LandmarksMissingError(_landmarks_missing())
        return self._cropper.cut(image, faces)

    def embed(self, crops: Crops) -> tuple[Embeddings, NDArray[np.float32]]:
        """(n, D) float32 of unit length, and the (n,) lengths before normalisation."""
        return self._embedder.embed(crops)

    def qualities(self, crops: Crops, faces: Detections) -> list[Quality]:
        """How good each face is, from its crop, landmarks (if the detector finds any), box and score."""
        return [
            assess(crop, landmarks, box, float(score))
            for crop, landmarks, box, score in zip(crops, faces.landmarks, faces.boxes, faces.scores, strict=True)
        ]

    def close(self) -> None:
        """Waits for running calls, then frees the engines."""
        self._detector.close()
        self._embedder.close()


def _chosen(faces: Detections, choice: FaceChoice) -> Detections:
    if choice.max_faces is None and not choice.min_face_px:
        return faces
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    kept = np.flatnonzero(sides.min(axis=1, initial=np.inf) >= choice.min_face_px)
    if choice.max_faces is not None:
        largest = np.argsort(-sides[kept].prod(axis=1), kind="stable")[: choice.max_faces]
        kept = np.sort(kept[largest])
    return faces[kept]


def _landmarks_missing() -> str:
    detectors = ", ".join(name for name, row in FAMILIES.items() if row.landmark_order)
    embedders = ", ".join(name for name, row in FAMILIES.items() if row.crop == "box")
    return (
        "the detector finds no landmarks, which the embedder needs to have faces aligned: whoever runs this can "
        f"set FACESERVE_DETECTOR to a model of another family ({detectors}), or FACESERVE_EMBEDDER to one that takes "
        f"boxes as they are ({embedders})"
    )


def largest(faces: Detections) -> Detections:
    """The largest of the faces, none if there is none."""
    return _chosen(faces, FaceChoice(min_score=0, max_faces=1))
