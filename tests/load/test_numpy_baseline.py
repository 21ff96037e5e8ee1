"""The baseline is only worth measuring against if it finds what the service finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.load import load_engine
from engines.models import SHIPPED
from engines.single_shot import SingleShotDetector
from tests.load import numpy_baseline as usual

DETECTOR = SHIPPED / "retinaface_mnet025" / "640x640.onnx"
EMBEDDER = SHIPPED / "mobilefacenet_256" / "112x112.onnx"
MIN_SCORE = 0.5


@pytest.fixture(scope="module")
def baseline() -> usual.UsualCode:
    return usual.UsualCode(DETECTOR, EMBEDDER)


@pytest.fixture(scope="module")
def detector() -> Iterator[SingleShotDetector]:
    detector = SingleShotDetector([load_engine(DETECTOR)])
    yield detector
    detector.close()


@pytest.mark.parametrize("photo", ["astronaut.jpg", "grace_hopper.jpg", "group.jpg"])
def test_same_faces_as_the_service(
    photo: str, samples: Path, baseline: usual.UsualCode, detector: SingleShotDetector
) -> None:
    image = np.asarray(cv2.imread(str(samples / photo)), np.uint8)
    expected = baseline.detect(image, MIN_SCORE)
    found = detector.detect(image, min_score=MIN_SCORE, small_scale=False)
    assert len(found.scores) == len(expected.scores) > 0
    assert np.min(_iou(found.boxes, expected.boxes)) >= 0.99
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.1)


def test_same_embedding_as_the_service(samples: Path, baseline: usual.UsualCode) -> None:
    image = np.asarray(cv2.imread(str(samples / "astronaut.jpg")), np.uint8)
    crop = usual.align(image, baseline.detect(image, MIN_SCORE).landmarks[0])
    expected = usual.unit(baseline.embed(baseline.crop_tensor([crop])))
    engine = load_engine(EMBEDDER)
    try:
        found = engine.run({"crops": crop[np.newaxis]})["embeddings"]
    finally:
        engine.close()
    assert float(found[0] @ expected[0]) >= 0.9999


def test_nms_drops_what_overlaps_a_better_box() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
    assert usual.nms(boxes, np.array([0.6, 0.9, 0.7], np.float32), 0.4) == [1, 2]


def test_every_cell_has_two_priors() -> None:
    table = usual.priors(640, 640)
    assert table.shape == (16_800, 4)
    np.testing.assert_array_equal(table[:3], [[4, 4, 16, 16], [4, 4, 32, 32], [12, 4, 16, 16]])


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each box with the one in the same row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    return np.asarray(shared / (areas - shared), np.float32)
