"""Quality: the signs and sizes of its traits, on faces turned by known angles."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engines.geometry.align import ARCFACE_112, align
from engines.quality import assess, pose, sharpness
from engines.single_shot import SingleShotDetector

BOX = np.array([0, 0, 200, 260], np.float32)
# x right, y down, z towards the camera: eyes, nose, mouth corners of an average face
FACE = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.63, 0.5], [-0.4, 1.15, 0], [0.4, 1.15, 0]])


def _seen(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """FACE turned to the image's right, up, and clockwise by degrees, in a parallel projection."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn_right = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    turn_up = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    clockwise = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    seen: NDArray[np.float64] = (FACE @ (clockwise @ turn_up @ turn_right).T)[:, :2] * 80 + 300
    return seen


@pytest.mark.parametrize("angle", [-45, -20, 0, 10, 30, 50])
def test_a_turn_about_one_axis_is_read_back(angle: float) -> None:
    assert pose(_seen(angle, 0, 0)) == pytest.approx((angle, 0, 0), abs=1.5)
    assert pose(_seen(0, angle, 0)) == pytest.approx((0, angle, 0), abs=1.5)
    assert pose(_seen(0, 0, angle)) == pytest.approx((0, 0, angle), abs=1.5)


@pytest.mark.parametrize("roll", [-170, -90, 45, 120])
def test_roll_does_not_disturb_the_rest(roll: float) -> None:
    assert pose(_seen(20, 0, roll)) == pytest.approx((20, 0, roll), abs=1.5)


def test_size_and_place_do_not_matter() -> None:
    landmarks = _seen(25, 10, 15)
    assert pose(landmarks * 7 + [1000, -50]) == pytest.approx(pose(landmarks))


@given(landmarks=arrays(np.float32, (5, 2), elements=st.floats(width=32)))
def test_any_landmarks_give_finite_angles(landmarks: NDArray[np.float32]) -> None:
    with np.errstate(all="ignore"):
        yaw, pitch, roll = pose(landmarks)
    assert -90 <= yaw <= 90
    assert -90 <= pitch <= 90
    assert -180 <= roll <= 180


def test_blur_lowers_sharpness(samples: Path, detector: SingleShotDetector) -> None:
    image = cv2.imread(str(samples / "astronaut.jpg"))
    assert image is not None
    photo = image.astype(np.uint8)
    crop = align(photo, detector.detect(photo).landmarks[0])
    blurred = [sharpness(np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.uint8)) for sigma in (1, 2, 4)]
    assert 0.5 < sharpness(crop) <= 1
    assert sharpness(crop) > blurred[0] > blurred[1] > blurred[2] >= 0
    assert blurred[1] < 0.25
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_the_score_is_the_worst_trait() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    frontal = _seen(0, 0, 0)
    good = assess(sharp, frontal, BOX, 0.9)
    assert good.score == pytest.approx(0.9)
    assert good.size_px == 200
    assert assess(sharp, frontal, BOX * 0.28, 0.9).score == pytest.approx(0.5)
    assert assess(sharp, _seen(60, 0, 0), BOX, 0.9).score == pytest.approx(0.5, abs=0.03)
    assert assess(np.zeros((112, 112, 3), np.uint8), frontal, BOX, 0.9).score == 0
    assert assess(sharp, _seen(0, 0, 80), BOX, 0.9).score == pytest.approx(0.9)


def test_without_landmarks_the_pose_is_not_known_and_does_not_count() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    found = assess(sharp, np.empty((0, 2), np.float32), BOX, 0.9)
    assert (found.yaw, found.pitch, found.roll) == (None, None, None)
    assert found == replace(assess(sharp, _seen(0, 0, 0), BOX, 0.9), yaw=None, pitch=None, roll=None)
    assert assess(sharp, np.empty((0, 2), np.float32), BOX * 0.28, 0.9).score == pytest.approx(0.5)


def test_the_alignment_template_is_frontal() -> None:
    yaw, pitch, roll = pose(ARCFACE_112)
    assert abs(yaw) < 2
    assert abs(pitch) < 10
    assert abs(roll) < 1
