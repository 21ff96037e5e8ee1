"""How good a picture of a face is, estimated from its crop, box and five landmarks alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image

# A face of average proportions, in units of the distance between its eyes.
_EYES_TO_MOUTH = 1.15
_NOSE_DEPTH = 0.5  # of the tip, in front of the plane of eyes and mouth
_NOSE_HEIGHT = 0.55  # of the tip, on the way from the eyes to the mouth

_SHARP_VARIANCE = 100.0
_GOOD_SIZE_PX = 112.0


@dataclass(frozen=True, slots=True)
class Quality:
    """`score` and `sharpness` 0..1, more is better; `yaw`, `pitch`, `roll` in degrees (see `pose`), None where it is
    not known; `size_px` the box's shorter side."""

    score: float
    sharpness: float
    yaw: float | None
    pitch: float | None
    roll: float | None
    size_px: float


def assess(crop: Image, landmarks: NDArray[np.floating], box: NDArray[np.floating], score: float) -> Quality:
    """The quality of a face from its `crop` (h, w, 3), its `landmarks` (5, 2), or (0, 2) for none, and `box` (4,) in
    image px, and its detection `score` 0..1.

    A picture is as good as its worst trait, so the quality's score is the least of: the detection score, the
    sharpness, cos(yaw) * cos(pitch), and the box's shorter side over 112 px, at most 1. Roll does not count: alignment
    takes it away. Without landmarks the pose is not known, and does not count either.
    """
    yaw, pitch, roll = pose(landmarks) if len(landmarks) else (None, None, None)
    sharp = sharpness(crop)
    x1, y1, x2, y2 = (float(edge) for edge in box)
    size_px = min(x2 - x1, y2 - y1)
    frontal = 1.0 if yaw is None or pitch is None else math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))
    worst = min(float(score), sharp, frontal, size_px / _GOOD_SIZE_PX)
    return Quality(min(1.0, max(0.0, worst)), sharp, yaw, pitch, roll, size_px)


def pose(landmarks: NDArray[np.floating]) -> tuple[float, float, float]:
    """Yaw (-90..90, positive: the face turns to the image's right), pitch (-90..90, positive: up) and roll (-180..180,
    positive: clockwise), degrees, from five landmarks (5, 2).

    Roll is the slope of the line between the eyes. Once that is level, the tip of the nose moves against the plane of
    eyes and mouth by its depth times the tangent of the turn, in a parallel projection. An estimate: it takes every
    face for one of average proportions, so a smile, a long nose or a near camera is worth 5 to 10 degrees, and beyond
    60 degrees, where landmarks hide, it only says `far`. (0, 0, 0) for landmarks that are not finite or whose eyes
    are in one place.
    """
    points = np.ascontiguousarray(landmarks, np.float64).view(np.complex128)[:, 0]
    left_eye, right_eye, nose = points[:3]
    eyes, mouth = (left_eye + right_eye) / 2, points[3:].mean()
    across = right_eye - left_eye
    if across == 0 or not np.isfinite(points).all():
        return 0.0, 0.0, 0.0
    nose, mouth = (nose - eyes) / across, (mouth - eyes) / across  # upright, in units of the eyes' distance
    down = nose.imag / max(mouth.imag, 1e-3)
    aside = nose.real - down * mouth.real
    yaw = math.atan2(aside, _NOSE_DEPTH)
    pitch = math.atan2((_NOSE_HEIGHT - down) * _EYES_TO_MOUTH, _NOSE_DEPTH)
    return math.degrees(yaw), math.degrees(pitch), math.degrees(math.atan2(across.imag, across.real))


def sharpness(crop: Image) -> float:
    """0..1 from the variance v of the grey crop's Laplacian: v / (v + 100).

    Portraits read 0.7 to 0.9, the same crops blurred by a Gaussian of 1 px about 0.35, of 2 px about 0.1.
    """
    variance = float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var())
    return variance / (variance + _SHARP_VARIANCE)
