"""One face, cut out and embedded: the vector that others' code made of it, and the mistakes that change it.

ArcFace's comes from a small network fed as InsightFace does it: Umeyama's transform by NumPy's SVD, warpAffine and
cv2.dnn.blobFromImage. SFace's is in `test_sface.py`, with OpenCV beside it, FaceNet's with the architectures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.crops import Cropper, cropper_for
from engines.importing import Expected, import_model
from engines.models import ModelSpec, ModelStore
from tests.engines.families.faces import SWAPPED, face, is_known, photo_of
from tests.engines.families.networks import run

Array = NDArray[Any]
ARCFACE = [-0.00113, -0.15935, 0.03232, -0.04675, -0.04276, 0.00729, 0.02536, 0.04043]
TOLERANCE = 3e-4


@pytest.fixture(scope="module")
def photo(samples: Path) -> Array:
    return photo_of(samples)


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
    found = embedding_of(spec, cropper_for(spec).cut(photo, face()))
    assert is_known(found, ARCFACE, TOLERANCE), found[:8].tolist()


@pytest.mark.parametrize("expected", [{"channels": "bgr"}, {"mean": [120]}, {"mean": [0], "std": [1]}], ids=str)
def test_other_pixels_give_arcface_another(arcface: Imported, photo: Array, expected: dict[str, Any]) -> None:
    spec = arcface(**expected)
    assert not is_known(embedding_of(spec, cropper_for(spec).cut(photo, face())), ARCFACE, TOLERANCE)


def test_other_crops_give_arcface_another(arcface: Imported, photo: Array) -> None:
    """Landmarks in another order, the box, rows for columns."""
    spec = arcface()
    right = cropper_for(spec).cut(photo, face())
    wrong = [cropper_for(spec).cut(photo, faces) for faces in map(face, SWAPPED)]
    wrong += [Cropper("box", (112, 112)).cut(photo, face()), np.ascontiguousarray(right.transpose(0, 2, 1, 3))]
    assert is_known(embedding_of(spec, right), ARCFACE, TOLERANCE)
    assert [is_known(embedding_of(spec, crops), ARCFACE, TOLERANCE) for crops in wrong] == [False] * len(wrong)
