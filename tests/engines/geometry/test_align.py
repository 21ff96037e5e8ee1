"""Alignment: the closed form against Umeyama's, and crops against the places where features belong."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engines.geometry.align import ARCFACE_112, align, similarity_transform

COORDINATE = st.floats(-1000, 1000, allow_subnormal=False)
POINTS = arrays(np.float64, (5, 2), elements=COORDINATE)


def _umeyama(src: NDArray[np.float64], dst: NDArray[np.float64]) -> NDArray[np.float64]:
    """Umeyama (1991), equations 40 to 42."""
    src_mean, dst_mean = src.mean(axis=0), dst.mean(axis=0)
    covariance = (dst - dst_mean).T @ (src - src_mean) / len(src)
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / (src - src_mean).var(axis=0).sum()
    return np.column_stack([scale * rotation, dst_mean - scale * rotation @ src_mean])


def _apply(matrix: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


@given(src=POINTS, dst=POINTS)
def test_the_closed_form_is_umeyama_s(src: NDArray[np.float64], dst: NDArray[np.float64]) -> None:
    spread = src.std()
    assume(spread > 1)
    expected = _umeyama(src, dst)
    assume(math.hypot(*expected[:, 0]) > 1e-3)  # else any rotation is as good as another
    np.testing.assert_allclose(similarity_transform(src, dst), expected, rtol=1e-6, atol=1e-6)


@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.01, 100),
    shift=st.tuples(COORDINATE, COORDINATE),
)
def test_a_similarity_is_found_again(angle: float, scale: float, shift: tuple[float, float]) -> None:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    np.testing.assert_allclose(
        similarity_transform(ARCFACE_112, _apply(matrix, ARCFACE_112)), matrix, rtol=1e-9, atol=1e-7 * (1 + scale)
    )


def test_points_on_a_line_are_enough() -> None:
    line = np.array([[0.0, 0], [1, 1], [2, 2]])
    np.testing.assert_allclose(similarity_transform(line, line * 3 + [5, 7]), [[3, 0, 5], [0, 3, 7]], atol=1e-12)


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 2)), np.full((5, 2), 37.5), np.full((5, 2), np.nan), ARCFACE_112 * [[np.inf, 1]]],
    ids=["zeros", "one place", "NaN", "infinite"],
)
def test_points_that_determine_nothing_are_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"one place|finite"):
        similarity_transform(points, ARCFACE_112)
    with pytest.raises(ValueError, match=r"one place|finite"):
        align(np.zeros((9, 9, 3), np.uint8), points.astype(np.float32))


@pytest.mark.parametrize(("src", "dst"), [((5, 2), (4, 2)), ((5, 3), (5, 3)), ((10,), (10,))])
def test_points_of_another_shape_are_refused(src: tuple[int, ...], dst: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        similarity_transform(np.ones(src), np.ones(dst))


def _face(landmarks: NDArray[np.floating], side: int, radius: float) -> NDArray[np.uint8]:
    """A black picture with a white dot at each landmark."""
    image = np.zeros((side, side, 3), np.uint8)
    for x, y in (landmarks * 16).round().astype(int).tolist():
        cv2.circle(image, (x, y), int(radius * 16), (255, 255, 255), cv2.FILLED, shift=4)
    return image


@pytest.mark.parametrize(("height", "width"), [(112, 112), (112, 96), (224, 224)])
@pytest.mark.parametrize("zoom", [0.6, 1.0, 1.9, 2.0, 3.7, 8.0])
@pytest.mark.parametrize("angle", [0, 30, 170])
def test_features_land_on_the_template(height: int, width: int, zoom: float, angle: float) -> None:
    turn = np.array(cv2.getRotationMatrix2D((56, 56), angle, zoom), np.float64)
    turn[:, 2] += 80 * zoom
    landmarks = _apply(turn, ARCFACE_112)
    image = _face(landmarks, int(330 * zoom), radius=4 * zoom)
    crop = align(image, landmarks.astype(np.float32), height, width)
    assert crop.shape == (height, width, 3)
    _, _, _, centres = cv2.connectedComponentsWithStats((crop[..., 0] > 127).astype(np.uint8))
    wanted = (ARCFACE_112 - [[56, 0]]) * height / 112 + [[width / 2, 0]]
    for place in wanted:
        assert np.hypot(*(centres[1:] - place).T).min() < 0.5 * height / 112


def test_a_large_face_is_averaged_not_sampled() -> None:
    """Noise that averaging takes away must not reach the crop."""
    random = np.random.default_rng(0)
    noise = random.choice(np.array([0, 255], np.uint8), (1200, 1200, 1)).repeat(3, axis=2)
    crop = align(noise, ARCFACE_112 * 10)
    assert crop.std() < 20  # sampling bilinearly leaves about 64


def test_a_face_half_outside_the_image_is_black_there() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = align(image, ARCFACE_112 - [[56, 0]])
    assert not crop[:, :55].any()
    assert (crop[:, 57:] == 200).all()
    outside = align(np.full((700, 700, 3), 200, np.uint8), ARCFACE_112 * 6 - [[5000, 5000]])
    assert not outside.any()


@given(landmarks=arrays(np.float32, (5, 2), elements=st.floats(-1e4, 1e4, width=32)))
def test_no_landmarks_crash_it(landmarks: NDArray[np.float32]) -> None:
    image = np.full((60, 80, 3), 99, np.uint8)
    try:
        crop = align(image, landmarks)
    except ValueError:
        return
    assert crop.shape == (112, 112, 3)
