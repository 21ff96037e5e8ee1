"""The crops of a picture's faces, by the kind of crop its embedder wants."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.crops import Cropper, cropper_for
from engines.detector import Detections
from engines.geometry.align import ARCFACE_112, align
from engines.geometry.box import cut_box
from engines.models import SHIPPED, ModelStore

IMAGE: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
BOXES = np.array([[20, 30, 120, 150], [200, 90, 260.5, 170]], np.float32)
LANDMARKS = np.stack([ARCFACE_112 + 20, ARCFACE_112[:, ::-1] * [1, 0.8] + 150]).astype(np.float32)
FACES = Detections(BOXES, np.array([0.9, 0.8], np.float32), LANDMARKS)
WITHOUT = dataclasses.replace(FACES, landmarks=np.empty((2, 0, 2), np.float32))


@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
def test_a_template_is_what_faces_are_aligned_to(size: tuple[int, int]) -> None:
    cropper = Cropper("template", size)
    assert cropper.needs_landmarks
    crops = cropper.cut(IMAGE, FACES)
    assert crops.shape == (2, *size, 3)
    for crop, landmarks in zip(crops, LANDMARKS, strict=True):
        np.testing.assert_array_equal(crop, align(IMAGE, landmarks, *size))
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        cropper.cut(IMAGE, WITHOUT)


@pytest.mark.parametrize("margin", [0, 32])
def test_a_box_is_cut_out_whether_there_are_landmarks_or_not(margin: int) -> None:
    cropper = Cropper("box", (160, 160), margin)
    assert not cropper.needs_landmarks
    crops = cropper.cut(IMAGE, FACES)
    np.testing.assert_array_equal(crops, cropper.cut(IMAGE, WITHOUT))
    for crop, box in zip(crops, BOXES, strict=True):
        np.testing.assert_array_equal(crop, cut_box(IMAGE, box, 160, 160, margin))


@pytest.mark.parametrize("crop", ["template", "box"])
def test_no_faces_no_crops(crop: str) -> None:
    nobody = FACES[np.array([], np.intp)]
    crops = Cropper("box" if crop == "box" else "template", (112, 96)).cut(IMAGE, nobody)
    assert crops.shape == (0, 112, 96, 3)
    assert crops.dtype == np.uint8


def test_a_model_says_how() -> None:
    shipped = ModelStore(SHIPPED).get("mobilefacenet_256")
    assert cropper_for(shipped) == Cropper("template", (112, 112), 0)
    boxed = dataclasses.replace(shipped, crop="box", margin_px=14)
    assert cropper_for(boxed) == Cropper("box", (112, 112), 14)
