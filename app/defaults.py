"""What holds where a request says nothing, and which detections count as faces at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline import FaceChoice
from app.schemas import FaceOptions
from engines.detector import Detections
from engines.geometry.align import ARCFACE_112


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing, and what it may not exceed."""

    max_pixels: int
    min_score: float
    small_scale: bool
    keep_crops: bool
    warn_similar: bool = True

    def choice(self, options: FaceOptions) -> FaceChoice:
        """Which faces the request wants."""
        return FaceChoice(
            min_score=self.min_score if options.min_score is None else options.min_score,
            max_faces=options.max_faces,
            min_face_px=options.min_face_px,
            small_scale=self.small_scale if options.small_scale is None else options.small_scale,
        )


def plausible(faces: Detections) -> Detections:
    """The faces but for those that landmarks in one place, or such a slip of the detector, leave no way to align.

    A detector that finds no landmarks loses none.
    """
    if not faces.landmarks.size:
        return faces
    # |a| of `similarity_transform`, for all faces at once; that raises from 1e-9 downwards.
    points = np.ascontiguousarray(faces.landmarks, np.float64).view(np.complex128)[..., 0]
    points = points - points.mean(axis=1, keepdims=True)
    template = ARCFACE_112.view(np.complex128)[:, 0]
    products = np.abs(points.conj() @ (template - template.mean()))
    kept = products > 1e-8 * (np.abs(points) ** 2).sum(axis=1)
    return faces if kept.all() else faces[kept]
