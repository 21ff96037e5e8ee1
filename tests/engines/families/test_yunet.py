"""The canonical YuNet against its slow twin and OpenCV's own code, and the upstream layouts it can be imported from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.base import ModelError
from engines.importing import import_model
from engines.models import ModelStore
from engines.onnxruntime import OnnxRuntimeEngine
from engines.single_shot import SingleShotDetector
from tests.engines.families import twins
from tests.engines.families.networks import imported_as, noise, run, write_yunet

Array = NDArray[Any]
KINDS = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)]


imported = partial(imported_as, "yunet")


def bare(source: Path, images: Array) -> list[dict[tuple[int, int], list[Array]]]:
    """What the upstream network gives for each image, alone."""
    planar = images.astype(np.float32).transpose(0, 3, 1, 2)
    return [twins.parts_of(run(source, np.ascontiguousarray(row[None]))) for row in planar]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**16),
    size=st.tuples(st.sampled_from([32, 64, 96]), st.sampled_from([64, 96, 160])),
    kinds=st.permutations(KINDS),
    fixed=st.booleans(),
    rows=st.integers(1, 3),
)
def test_any_network_agrees_with_the_twin(
    tmp_path: Path, assert_same_faces: Callable[..., None],
    seed: int, size: tuple[int, int], kinds: list[tuple[str, int]], fixed: bool, rows: int,
) -> None:  # fmt: skip
    shape = (1, 3, *size) if fixed else ("n", 3, "h", "w")
    source = write_yunet(tmp_path / "up.onnx", seed=seed, kinds=kinds, shape=shape)
    images = noise(seed, rows, *size, 3)
    found = run(imported(source, tmp_path, size).files[0].path, images)
    for row, parts in enumerate(bare(source, images)):
        assert_same_faces(found, row, twins.yunet(parts, *size))


def test_raw_scores_get_their_sigmoid(tmp_path: Path) -> None:
    found = [
        run(
            imported(write_yunet(tmp_path / "up.onnx", sigmoid=sigmoid), tmp_path, (64, 64)).files[0].path,
            noise(2, 1, 64, 64, 3),
        )
        for sigmoid in (True, False)
    ]
    np.testing.assert_allclose(found[0]["scores"], found[1]["scores"], atol=1e-6)


@pytest.mark.parametrize("kinds", [KINDS[1:], KINDS[:3], [*KINDS, ("more", 1)], [("loc", 14), ("conf", 2), ("iou", 1)]])
def test_other_layouts_are_refused(tmp_path: Path, kinds: list[tuple[str, int]]) -> None:
    source = write_yunet(tmp_path / "up.onnx", kinds=kinds)
    with pytest.raises(ModelError, match="YuNet has cls"):
        import_model(source, family="yunet", into=ModelStore(tmp_path), sizes=[(64, 64)])


def test_a_fixed_export_is_for_its_own_size_only(tmp_path: Path) -> None:
    assert imported(write_yunet(tmp_path / "up.onnx", shape=(1, 3, 96, 64)), tmp_path).sizes == ((96, 64),)


@pytest.mark.parametrize("photo", ["two_people.jpg", "deepface_selfie-many-people.jpg"])
def test_the_published_network_finds_what_opencv_finds(shared: Path, tmp_path: Path, photo: str) -> None:
    source = shared / "models/upstream/yunet_n_dynamic.onnx"
    whole = cv2.imread(str(shared / "photos" / photo))
    assert whole is not None
    image = np.asarray(cv2.resize(whole, (480, 320)), np.uint8)
    _, theirs = cv2.FaceDetectorYN.create(str(source), "", (480, 320), 0.6, 0.4).detect(image)
    detector = SingleShotDetector([OnnxRuntimeEngine(imported(source, tmp_path, (320, 480)).files[0].path)])
    ours = detector.detect(image, min_score=0.6, iou=0.4)
    detector.close()
    assert len(ours) == len(theirs) >= 2
    np.testing.assert_allclose(ours.scores, theirs[:, 14], atol=1e-3)
    np.testing.assert_allclose(ours.landmarks.reshape(-1, 10), theirs[:, 4:14], atol=0.1)
    corners = np.concatenate([theirs[:, :2], theirs[:, :2] + theirs[:, 2:4]], axis=1)
    np.testing.assert_allclose(ours.boxes, np.clip(corners, 0, [480, 320, 480, 320]), atol=0.1)
    left_eye, right_eye, nose, left_mouth, right_mouth = ours.landmarks.transpose(1, 0, 2)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()  # as the viewer sees them
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
    assert (nose[:, 1] < left_mouth[:, 1]).all()
