"""The cascade with the published weights: the faces of real photos, alone and in company."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import Engine, EngineClosedError, Image, ModelError
from engines.batching import BatchingEngine
from engines.cascade import CascadeDetector
from engines.detector import open_detector
from engines.families import FAMILIES
from engines.importing import import_model
from engines.load import LoadOptions, load_engine
from engines.manifest import ModelSpec
from engines.models import ModelStore

FAMILY = FAMILIES["mtcnn"]
FACES = {
    **dict.fromkeys(
        ("obama2.jpg", "biden.jpg", "biden2.jpg", "rose_img1.jpg", "rose_img2.jpg", "deepface_img25.jpg"), 1
    ),
    **dict.fromkeys(("two_people.jpg", "kit_with_rose.jpg", "deepface_couple.jpg"), 2),
}


def loaded(spec: ModelSpec) -> list[Engine]:
    return [
        load_engine(
            file.path, LoadOptions(max_batch_size=FAMILY.batches[file.size].cpu if file.size in FAMILY.batches else 2)
        )
        for file in spec.files
    ]


@pytest.fixture(scope="module")
def spec(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    files = [shared / "models" / "upstream" / f"mtcnn_{part}net.pt" for part in "rop"]
    return import_model(files, into=ModelStore(tmp_path_factory.mktemp("store")), name="mtcnn")


@pytest.fixture(scope="module")
def detector(spec: ModelSpec) -> Iterator[CascadeDetector]:
    """Behind batching engines, as in the service."""
    engines = [BatchingEngine(engine) for engine in loaded(spec)]
    detector = open_detector(FAMILY, engines, sizes=spec.sizes)
    assert isinstance(detector, CascadeDetector)
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def photos(shared: Path) -> dict[str, Image]:
    return {name: np.asarray(cv2.imread(str(shared / "photos" / name)), np.uint8) for name in FACES}


def test_the_faces_of_photos_are_found(detector: CascadeDetector, photos: dict[str, Image]) -> None:
    found = {name: detector.detect(photo, min_score=FAMILY.min_score) for name, photo in photos.items()}
    assert {name: len(faces) for name, faces in found.items()} == FACES
    for name, faces in found.items():
        height, width = photos[name].shape[:2]
        assert (faces.boxes >= 0).all()
        assert (faces.boxes <= [width, height] * 2).all()
        assert (np.diff(faces.scores) <= 0).all()
        sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
        within = (faces.landmarks - faces.boxes[:, None, :2]) / sides[:, None]
        assert (within > -0.05).all()
        assert (within < 1.05).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks.transpose(1, 0, 2)
        assert (left_eye[:, 0] < right_eye[:, 0]).all()
        assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
        assert (np.maximum(left_eye, right_eye)[:, 1] < nose[:, 1]).all()
        assert (nose[:, 1] < np.minimum(left_mouth, right_mouth)[:, 1]).all()


def test_many_threads_get_the_answers_of_one(detector: CascadeDetector, photos: dict[str, Image]) -> None:
    names = ["two_people.jpg", "kit_with_rose.jpg", "biden2.jpg", "rose_img1.jpg"]
    alone = {name: detector.detect(photos[name]) for name in names}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: (name, detector.detect(photos[name])), names * 2))
    for name, faces in together:
        assert len(faces) == len(alone[name])
        np.testing.assert_allclose(faces.boxes, alone[name].boxes, atol=0.05)
        np.testing.assert_allclose(faces.scores, alone[name].scores, atol=1e-4)


def test_a_lower_score_only_adds(detector: CascadeDetector, photos: dict[str, Image]) -> None:
    strict, lax = (detector.detect(photos["kit_with_rose.jpg"], min_score=score) for score in (0.99, 0.3))
    assert 1 <= len(strict) <= len(lax)
    assert set(strict.scores.tolist()) <= set(lax.scores.tolist())


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (19, 19), (300, 200)])
def test_what_has_no_face_gives_none(detector: CascadeDetector, shape: tuple[int, int]) -> None:
    faces = detector.detect(np.full((*shape, 3), 90, np.uint8))
    assert (faces.boxes.shape, faces.scores.shape, faces.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
    with pytest.raises(ValueError, match="at least one pixel"):
        detector.detect(np.empty((0, *shape[1:], 3), np.uint8))


def test_a_photo_goes_to_the_canvas_that_shows_it_largest_with_least_work(spec: ModelSpec) -> None:
    detector = open_detector(FAMILY, loaded(spec), sizes=spec.sizes)
    assert isinstance(detector, CascadeDetector)
    shapes = {(1000, 1000): (640, 640), (900, 1200): (480, 640), (1200, 600): (640, 480), (901, 1200): (640, 640)}
    assert {shape: detector._size_for(np.empty((*shape, 3), np.uint8)) for shape in shapes} == shapes
    detector.close()
    with pytest.raises(EngineClosedError):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_a_part_that_is_missing_or_another_is_told(spec: ModelSpec) -> None:
    engines = loaded(spec)
    for chosen, sizes, wrong in (
        (engines[:4], spec.sizes[:4], "needs P-Net at a picture's size, 24x24 and 48x48"),
        (engines[3:], spec.sizes[3:], "needs P-Net"),
        (engines, spec.sizes[:2], "needs to know the size of each"),
        (engines, (*spec.sizes[:3], (24, 24), (48, 48)), "no network of a cascade for 24x24"),
        (engines, ((600, 600), *spec.sizes[1:]), "no network of a cascade for 600x600"),
    ):
        with pytest.raises(ModelError, match=wrong):
            open_detector(FAMILY, chosen, sizes=sizes)
    one_file = replace(FAMILY, cascade=False)
    with pytest.raises(ModelError, match="a detector turns images"):
        open_detector(one_file, engines[:1])
    for engine in engines:
        engine.close()


def test_the_fault_of_any_network_is_the_detectors(spec: ModelSpec) -> None:
    engines = loaded(spec)
    detector = open_detector(FAMILY, engines, sizes=spec.sizes)
    faults = [detector.fault]
    vars(engines[-1])["fault"] = "lost"
    assert [*faults, detector.fault] == [None, "lost"]
    detector.close()
