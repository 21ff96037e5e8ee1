"""One face, cut out and embedded: the vectors that others' code made of it, and the mistakes that change them.

ArcFace's comes from a small network fed as InsightFace does it: Umeyama's transform by NumPy's SVD, warpAffine and
cv2.dnn.blobFromImage. FaceNet's comes from facenet-pytorch's `extract_face` and `InceptionResnetV1`, with the weights
that `random_weights(0)` gives. SFace's is in `test_sface.py`, with OpenCV beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.architectures import build
from engines.crops import Cropper, cropper_for
from engines.detector import Detections
from engines.families import family_called
from engines.families.static import specialise
from engines.importing import Expected, import_model
from engines.models import ModelSpec, ModelStore
from tests.engines.families.networks import run

Array = NDArray[Any]
BOX = [178.73, 56.21, 270.97, 173.58]
LANDMARKS = [[202.99, 101.24], [247.0, 102.83], [224.26, 127.45], [203.68, 142.12], [243.48, 143.27]]
FACE = Detections(np.array([BOX], np.float32), np.ones(1, np.float32), np.array([LANDMARKS], np.float32))
MARGIN = 14
ARCFACE = [-0.00113, -0.15935, 0.03232, -0.04675, -0.04276, 0.00729, 0.02536, 0.04043]
FACENET = [-0.01263, 0.01566, 0.04316, -0.02862, -0.02603, -0.04617, 0.00029, -0.03196]
TOLERANCE = 3e-4


@pytest.fixture(scope="module")
def photo(samples: Path) -> Array:
    return np.asarray(cv2.imread(str(samples / "astronaut.jpg")), np.uint8)


def is_known(embedding: Array, known: list[float]) -> bool:
    return bool(np.abs(embedding[: len(known)] - known).max() < TOLERANCE)


def embedding_of(spec: ModelSpec, crops: Array) -> Array:
    found: Array = run(spec.files[0].path, crops)["embeddings"][0]
    return found


Imported = Callable[..., ModelSpec]


@pytest.fixture
def arcface(tmp_path: Path, tiny_embedder: Callable[..., Path]) -> Imported:
    """Imports the small network, as expecting what is given."""
    source = tiny_embedder(tmp_path / "up.onnx", seed=5, dimension=512)

    def get(**expected: Any) -> ModelSpec:
        return import_model(source, into=ModelStore(tmp_path), family="arcface", expected=Expected(**expected))

    return get


def test_arcface_gives_the_known_vector(arcface: Imported, photo: Array) -> None:
    spec = arcface()
    found = embedding_of(spec, cropper_for(spec).cut(photo, FACE))
    assert is_known(found, ARCFACE), found[:8].tolist()


@pytest.mark.parametrize("expected", [{"channels": "bgr"}, {"mean": [120]}, {"mean": [0], "std": [1]}], ids=str)
def test_other_pixels_give_arcface_another(arcface: Imported, photo: Array, expected: dict[str, Any]) -> None:
    spec = arcface(**expected)
    assert not is_known(embedding_of(spec, cropper_for(spec).cut(photo, FACE)), ARCFACE)


def test_other_crops_give_arcface_another(arcface: Imported, photo: Array) -> None:
    """Landmarks in another order, the box, rows for columns."""
    spec = arcface()
    right = cropper_for(spec).cut(photo, FACE)
    orders = [[1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [0, 1, 3, 2, 4]]
    mixed_up = [Detections(FACE.boxes, FACE.scores, FACE.landmarks[:, order]) for order in orders]
    wrong = [cropper_for(spec).cut(photo, faces) for faces in mixed_up]
    wrong += [Cropper("box", (112, 112)).cut(photo, FACE), np.ascontiguousarray(right.transpose(0, 2, 1, 3))]
    assert is_known(embedding_of(spec, right), ARCFACE)
    assert [is_known(embedding_of(spec, crops), ARCFACE) for crops in wrong] == [False] * len(wrong)


def test_facenet_gives_the_known_vector(photo: Array, tmp_path: Path) -> None:
    """And another for BGR taken for RGB, another mean, no margin, an aligned face, rows for columns."""
    row = family_called("facenet")
    body = specialise(build("facenet"), row.sizes[0])
    converter = row.converter()
    model = converter.convert(body, row.sizes[0], converter.default_preprocessing(body)).model
    (tmp_path / "facenet.onnx").write_bytes(model.SerializeToString())
    right = Cropper(row.crop, row.sizes[0], MARGIN).cut(photo, FACE)
    wrong = [
        right[..., ::-1],
        np.clip(right, 0, 250) + np.uint8(5),
        Cropper("box", (160, 160)).cut(photo, FACE),
        Cropper("template", (160, 160)).cut(photo, FACE),
        right.transpose(0, 2, 1, 3),
    ]
    known, *others = run(tmp_path / "facenet.onnx", np.concatenate([right, *wrong]))["embeddings"]
    assert is_known(known, FACENET), known[:8].tolist()
    assert [is_known(other, FACENET) for other in others] == [False] * len(wrong)
