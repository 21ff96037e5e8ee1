"""Detections that no crop could be made of are no faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from app.defaults import plausible
from app.errors import FaceNotDetectedError
from app.pipeline import FaceChoice
from app.schemas import DetectOptions, EmbedOptions, EnrollOptions, RecognizeOptions
from app.service import FaceService
from engines.base import Image
from engines.detector import Detections
from engines.geometry.align import ARCFACE_112, align

POINTS = st.floats(-1e4, 1e4, width=32)


def detections(landmarks: NDArray[np.floating[Any]]) -> Detections:
    boxes = np.tile(np.array([10, 10, 90, 90], np.float32), (len(landmarks), 1))
    return Detections(boxes, np.linspace(0.9, 0.8, len(landmarks), dtype=np.float32), landmarks.astype(np.float32))


@given(arrays.arrays(np.float32, (3, 5, 2), elements=POINTS, fill=st.nothing()))
def test_what_stays_can_be_aligned(landmarks: NDArray[np.floating[Any]]) -> None:
    for kept in plausible(detections(landmarks)).landmarks:
        assert align(np.zeros((8, 8, 3), np.uint8), kept).shape == (112, 112, 3)


def test_faces_stay_and_slips_go() -> None:
    slip = np.full((5, 2), 50.0)
    found = plausible(detections(np.stack([ARCFACE_112, slip, 3 * ARCFACE_112 + 7])))
    np.testing.assert_allclose(found.scores, [0.9, 0.8])
    assert len(plausible(detections(np.empty((0, 5, 2))))) == 0
    assert len(plausible(detections(np.empty((2, 0, 2))))) == 2  # a detector that finds none


def test_a_slip_of_the_detector_is_no_face(
    service: FaceService, monkeypatch: pytest.MonkeyPatch, astronaut: bytes
) -> None:
    def slip(image: Image, choice: FaceChoice) -> Detections:
        return detections(np.full((1, 5, 2), 50.0))

    monkeypatch.setattr(service._pipeline, "detect", slip)
    assert service.detect(astronaut, DetectOptions())["faces"] == []
    assert service.embed(astronaut, EmbedOptions())["faces"] == []
    assert service.recognize(astronaut, RecognizeOptions())["faces"] == []
    with pytest.raises(FaceNotDetectedError):
        service.prepare(astronaut, EnrollOptions(identity="x"))
