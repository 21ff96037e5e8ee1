"""Faces -> the JSON clients read (shapes in `app/answers.py`). Plain dicts: orjson writes them ten times faster."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import pybase64

from app.margins import Candidates
from app.schemas import NamingOptions
from engines.base import Image
from engines.crops import Crops
from engines.detector import Detections
from engines.quality import Quality
from engines.thresholds import Choice
from gallery.types import Match

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
PIXEL_DIGITS, FRACTION_DIGITS, SCORE_DIGITS = 2, 6, 4
Json = dict[str, Any]


def new_request_id() -> str:
    """32 hex digits to find a request in the log by. They are no secret, so they need not cost a call of os.urandom."""
    return f"{random.getrandbits(128):032x}"


class Stopwatch:
    """Milliseconds spent in each named step, and in all since it was made. For one thread."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent_s: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s[name] = self._spent_s.get(name, 0.0) + time.perf_counter() - start

    def read_ms(self) -> dict[str, float]:
        total_s = time.perf_counter() - self._start
        return {name: round(1e3 * spent, 3) for name, spent in (*self._spent_s.items(), ("total", total_s))}


def faces_json(faces: Detections, image: Image, *, normalized: bool, landmarks: bool) -> list[Json]:
    """Box and score of each face, landmarks if asked for; pixels of `image`, or fractions of its sides."""
    height, width = image.shape[:2]
    digits, unit = (FRACTION_DIGITS, (width, height)) if normalized else (PIXEL_DIGITS, (1, 1))
    corners = faces.boxes.reshape(-1, 2, 2).astype(np.float64) / unit
    corners[:, 1] -= corners[:, 0]
    boxes = corners.reshape(-1, 4).round(digits).tolist()
    scores = faces.scores.astype(np.float64).round(SCORE_DIGITS).tolist()
    answer: list[Json] = [
        {"box": {"x": x, "y": y, "w": w, "h": h}, "score": score}
        for (x, y, w, h), score in zip(boxes, scores, strict=True)
    ]
    if landmarks:
        points = (faces.landmarks.astype(np.float64) / unit).round(digits).tolist()
        for face, five in zip(answer, points, strict=True):
            face["landmarks"] = [
                {"id": number, "name": name, "x": x, "y": y}
                for number, (name, (x, y)) in enumerate(zip(LANDMARKS, five, strict=False))  # five, or none
            ]
    return answer


def quality_json(quality: Quality) -> Json:
    return {name: None if value is None else round(value, SCORE_DIGITS) for name, value in asdict(quality).items()}


def crop_png(crop: Image) -> bytes:
    """The crop as PNG: lossless, so that it can be embedded again."""
    return cv2.imencode(".png", crop)[1].tobytes()


def crops_base64(crops: Crops) -> list[str]:
    return [pybase64.b64encode_as_string(crop_png(crop)) for crop in crops]


def match_json(match: Match) -> Json:
    return {
        "identity": match.identity,
        "similarity": round(match.similarity, FRACTION_DIGITS),
        "face_id": match.face_id,
        "metadata": match.metadata,
    }


def named_json(found: Candidates, min_margin: float | None) -> Json:
    """`identity` and `similarity` of who is named, null for nobody, all matches, and what the margin said."""
    best = {"identity": None, "similarity": None} if found.named is None else match_json(found.named)
    named = {"identity": best["identity"], "similarity": best["similarity"]}
    margin = {} if min_margin is None else margin_json(found)
    return named | {"matches": [match_json(match) for match in found.matches]} | margin


def decision_json(found: Candidates) -> Json:
    """Who is named, and what the margin said."""
    return {"identity": found.named.identity if found.named else None} | margin_json(found)


def margin_json(found: Candidates) -> Json:
    margin = None if found.margin is None else round(found.margin, FRACTION_DIGITS)
    return {"margin": margin, "ambiguous": found.ambiguous}


def asked_json(options: NamingOptions) -> Json:
    """Where was searched, and the margin where one was asked for."""
    margin = {} if options.min_margin is None else {"min_margin": options.min_margin}
    return {"collection": options.collection} | margin


def threshold_json(choice: Choice) -> Json:
    return {
        "threshold": choice.threshold,
        "far": choice.far,
        "expected_false_match_rate": choice.expected_false_match_rate,
        "warning": choice.warning,
    }
