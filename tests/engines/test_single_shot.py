"""Detection: image coordinates, scores, scales that agree, and the faces of real photos."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import (
    Engine,
    EngineClosedError,
    Image,
    ModelError,
    Tensors,
    TensorSpec,
    cancellation,
    current_cancellation,
)
from engines.batching import BatchingEngine
from engines.onnxruntime import OnnxRuntimeEngine
from engines.single_shot import SingleShotDetector
from tests.engines.rows import RowEngine

Face = tuple[float, float, float, float, float]
"""x1, y1, x2, y2, score in input px."""


class Seer:
    """A detector's engine that sees the same faces in every image."""

    concurrency = 1
    max_batch_size = 1
    description = {"runtime": "test"}  # noqa: RUF012
    fault: str | None = None

    def __init__(self, side: int, faces: Sequence[Face] = ()) -> None:
        self._answer = np.array(sorted(faces, key=lambda face: -face[4]), np.float32).reshape(-1, 5)
        self.inputs = (TensorSpec("images", "uint8", (None, side, side, 3)),)
        self.outputs = (
            TensorSpec("boxes", "float32", (None, None, 4)),
            TensorSpec("scores", "float32", (None, None)),
            TensorSpec("landmarks", "float32", (None, None, 5, 2)),
        )
        self.saw_cancelled: list[bool] = []
        self.seen: list[NDArray[np.uint8]] = []
        self.closed = False

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        self.seen.append(feeds["images"][0].copy())
        self.saw_cancelled.append(current_cancellation()())
        boxes, scores = self._answer[:, :4], self._answer[:, 4]
        return {"boxes": boxes[None].copy(), "scores": scores[None].copy(), "landmarks": landmarks_in(boxes)[None]}

    def close(self) -> None:
        self.closed = True


def landmarks_in(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    return boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])


def black(height: int, width: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def test_faces_come_in_image_pixels_best_first() -> None:
    detector = SingleShotDetector([Seer(64, [(8, 16, 24, 40, 0.7), (40, 8, 56, 24, 0.9), (0, 50, 6, 60, 0.4)])])
    found = detector.detect(black(320, 640))  # 640 px -> 64 px
    np.testing.assert_allclose(found.scores, [0.9, 0.7])
    np.testing.assert_allclose(found.boxes, [[400, 80, 560, 240], [80, 160, 240, 320]])  # clipped to 320 rows
    np.testing.assert_allclose(
        found.landmarks, landmarks_in(np.array([[8, 16, 24, 40], [40, 8, 56, 24]], "f4") * 10)[::-1]
    )
    assert all(array.dtype == np.float32 for array in (found.boxes, found.scores, found.landmarks))
    assert len(found) == 2


def test_the_network_gets_the_letterboxed_image() -> None:
    seer = Seer(64)
    SingleShotDetector([seer]).detect(np.full((32, 16, 3), 200, np.uint8))
    assert (seer.seen[0][:, :32] == 200).all()
    assert not seer.seen[0][:, 32:].any()


@pytest.mark.parametrize(("min_score", "count"), [(0.95, 0), (0.9, 1), (0.5, 2), (0.2, 3), (0.0, 3), (1.0, 0)])
def test_min_score_is_inclusive(min_score: float, count: int) -> None:
    detector = SingleShotDetector([Seer(64, [(0, 0, 9, 9, 0.9), (20, 0, 29, 9, 0.5), (40, 0, 49, 9, 0.2)])])
    found = detector.detect(black(64, 64), min_score=min_score)
    assert len(found) == count
    assert found.boxes.shape == (count, 4)
    assert found.landmarks.shape == (count, 5, 2)


def test_overlaps_are_thinned_out() -> None:
    pair = [(0.0, 0.0, 20.0, 20.0, 0.9), (5.0, 0.0, 25.0, 20.0, 0.8)]  # IoU 0.6
    assert len(SingleShotDetector([Seer(64, pair)]).detect(black(64, 64), iou=0.5)) == 1
    assert len(SingleShotDetector([Seer(64, pair)]).detect(black(64, 64), iou=0.7)) == 2


def test_what_lies_in_the_padding_or_is_not_finite_goes() -> None:
    padding, broken, good = (0, 40, 20, 60, 0.9), (np.nan, 0, 10, 10, 0.8), (2, 2, 20, 20, 0.7)
    found = SingleShotDetector([Seer(64, [padding, broken, good])]).detect(black(32, 64))
    np.testing.assert_allclose(found.boxes, [[2, 2, 20, 20]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_thin_images_are_images(detector: SingleShotDetector, shape: tuple[int, int]) -> None:
    assert len(detector.detect(black(*shape))) == 0


def test_an_image_without_pixels_is_refused(detector: SingleShotDetector) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        detector.detect(black(0, 10))


@pytest.mark.parametrize("beside", [True, False])
def test_the_small_scale_is_run_when_asked_for(beside: bool) -> None:
    main, small = Seer(640), Seer(192, [(20, 20, 180, 180, 0.9)])
    detector = SingleShotDetector([main, small], beside=beside)
    assert len(detector.detect(black(960, 960), small_scale=False)) == 0
    assert small.seen == []
    found = detector.detect(black(960, 960))
    np.testing.assert_allclose(found.boxes, [[100, 100, 900, 900]])
    assert small.seen[0].shape == (192, 192, 3)


def test_a_fault_of_any_scale_is_the_detector_s() -> None:
    main, small = Seer(640), Seer(192)
    detector = SingleShotDetector([main, small])
    assert detector.fault is None
    small.fault = "lost"
    assert detector.fault == "lost"


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_a_caller_who_left_is_known_at_every_scale(left: bool, beside: bool) -> None:
    main, small = Seer(640), Seer(192)
    with cancellation(lambda: left):
        SingleShotDetector([main, small], beside=beside).detect(black(9, 9))
    assert main.saw_cancelled == small.saw_cancelled == [left]


def test_closing_closes_every_engine() -> None:
    engines = [Seer(640), Seer(192)]
    SingleShotDetector(engines).close()
    assert all(engine.closed for engine in engines)


@pytest.mark.parametrize("small_scale", [True, False])
def test_a_closed_detector_says_so(weights: Path, small_scale: bool) -> None:
    detector = _shipped(weights, lambda engine: engine)
    detector.detect(black(9, 9))
    detector.close()
    with pytest.raises(EngineClosedError):
        detector.detect(black(9, 9), small_scale=small_scale)
    detector.close()


def test_another_network_is_refused() -> None:
    wrong: list[list[Engine]] = [[RowEngine()], [Seer(640), RowEngine()]]
    for engines in wrong:
        with pytest.raises(ModelError, match=r"images \(N, H, W, 3\)"):
            SingleShotDetector(engines)
    for sizes in ([], [192, 640]):
        with pytest.raises(ModelError, match="largest first"):
            SingleShotDetector([Seer(size) for size in sizes])


def test_lower_min_score_only_adds_faces(detector: SingleShotDetector, samples: Path) -> None:
    image = _photo(samples / "group.jpg")
    found = [detector.detect(image, min_score=score) for score in (0.1, 0.3, 0.5, 0.9)]
    for more, fewer in itertools.pairwise(found):
        assert len(more) >= len(fewer)
        np.testing.assert_array_equal(more.scores[: len(fewer)], fewer.scores)
        np.testing.assert_array_equal(more.boxes[: len(fewer)], fewer.boxes)


def _photo(path: Path) -> Image:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize(("name", "count"), [("astronaut.jpg", 1), ("grace_hopper.jpg", 1), ("group.jpg", 2)])
def test_the_samples_faces_are_found(detector: SingleShotDetector, samples: Path, name: str, count: int) -> None:
    image = _photo(samples / name)
    found = detector.detect(image)
    assert len(found) == count
    height, width = image.shape[:2]
    assert (found.scores > 0.9).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    for box, (left_eye, right_eye, nose, left_mouth, right_mouth) in zip(found.boxes, found.landmarks, strict=True):
        assert box[0] < left_eye[0] < nose[0] < right_eye[0] < box[2]
        assert box[1] < left_eye[1] < nose[1] < left_mouth[1] < box[3]
        assert left_mouth[0] < right_mouth[0]


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.1, 0.5])
@pytest.mark.parametrize("side", [60, 224, 1500])
@pytest.mark.parametrize("name", ["astronaut.jpg", "grace_hopper.jpg"])
def test_a_face_that_fills_the_frame_is_found(
    detector: SingleShotDetector, samples: Path, name: str, side: int, margin: float
) -> None:
    image = _photo(samples / name)
    whole = detector.detect(image, small_scale=False)
    x1, y1, x2, y2 = whole.boxes[0]
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left, top, right, bottom = (max(0, round(float(edge))) for edge in (x1 - dx, y1 - dy, x2 + dx, y2 + dy))
    crop = image[top:bottom, left:right]
    zoom = side / max(crop.shape[:2])
    crop = np.asarray(cv2.resize(crop, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA), np.uint8)
    found = detector.detect(crop)
    assert len(found) == 1
    expected = (whole.landmarks[0] - [left, top]) * zoom
    eyes_px = float(np.hypot(*(expected[1] - expected[0])))
    assert np.hypot(*(found.landmarks[0] - expected).T).mean() < 0.1 * eyes_px


PHOTOS = {
    "obama.jpg": (1, 1), "obama2.jpg": (1, 1), "32bit.png": (1, 1), "obama_partial_face.jpg": (1, 1),
    "biden.jpg": (1, 1), "biden2.jpg": (1, 1), "two_people.jpg": (2, 2), "obama_and_biden.jpg": (2, 3),
    "rose_img1.jpg": (1, 1), "rose_img2.jpg": (1, 1), "kit_with_rose.jpg": (2, 2), "deepface_couple.jpg": (2, 2),
    "deepface_selfie-many-people.jpg": (6, 7), "deepface_img12.jpg": (1, 1), "deepface_img25.jpg": (1, 1),
    "deepface_img51.jpg": (1, 1), "deepface_img62.jpg": (1, 3),
}  # fmt: skip


def test_the_faces_of_the_shared_photos_are_counted_right(detector: SingleShotDetector, shared: Path) -> None:
    counts = {name: len(detector.detect(_photo(shared / "photos" / name))) for name in PHOTOS}
    wrong = {name: count for name, count in counts.items() if not PHOTOS[name][0] <= count <= PHOTOS[name][1]}
    assert not wrong


def _shipped(weights: Path, wrap: Callable[[Engine], Engine]) -> SingleShotDetector:
    sizes = ("640x640", "192x192")
    paths = [weights / "retinaface_mnet025" / f"{size}.onnx" for size in sizes]
    return SingleShotDetector([wrap(OnnxRuntimeEngine(path, concurrency=2, max_batch_size=4)) for path in paths])


def test_many_threads_find_what_one_finds(weights: Path, samples: Path) -> None:
    detector = _shipped(weights, BatchingEngine)
    photos = [_photo(samples / name) for name in ("astronaut.jpg", "grace_hopper.jpg", "group.jpg")]
    images = [*photos, photos[0][:, ::-1], photos[1][:300], black(50, 50)]
    expected = [detector.detect(image) for image in images]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(detector.detect, images * 4))
    for mine, wanted in zip(found, expected * 4, strict=True):
        assert len(mine) == len(wanted)
        np.testing.assert_allclose(mine.boxes, wanted.boxes, atol=0.05)
        np.testing.assert_allclose(mine.scores, wanted.scores, atol=1e-4)
        np.testing.assert_allclose(mine.landmarks, wanted.landmarks, atol=0.05)
    detector.close()
