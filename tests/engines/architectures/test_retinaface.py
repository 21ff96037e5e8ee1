"""RetinaFace with real weights poured in gives what the files they came from give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from engines import graphs, weight_files
from engines.architectures import build, given_weights, pour
from engines.importing import import_model
from engines.models import SHIPPED, ModelStore
from engines.weight_files import WeightFile
from tests.engines.architectures.exports import unfolded

Array = NDArray[Any]
Run = Callable[[ModelProto, Array], dict[str, Array]]


def canvas(path: Path, side: int) -> Array:
    photo = np.asarray(cv2.imread(str(path)))
    scale = side / max(photo.shape[:2])
    small = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    image = np.zeros((1, side, side, 3), np.uint8)
    image[0, : small.shape[0], : small.shape[1]] = small[:side, :side]
    return image


def following(module: str) -> str:
    """The BatchNormalization after a convolution, the next in its sequence; none after a head's."""
    parent, _, place = module.rpartition(".")
    return "" if module.endswith("conv1x1") else f"{parent}.{int(place) + 1}"


def test_the_shipped_network_s_weights_give_the_shipped_network(samples: Path, run: Run, tmp_path: Path) -> None:
    shipped = graphs.load(ModelStore(SHIPPED).get("retinaface_mnet025").files[-1].path)
    poured = build("retinaface_mnet025", (192, 192), given_weights(unfolded(shipped, following)))
    onnx.save(poured, tmp_path / "poured.onnx")
    spec = import_model(tmp_path / "poured.onnx", family="retinaface", into=ModelStore(tmp_path))
    image = canvas(samples / "group.jpg", 192)
    expected, found = run(shipped, image), run(graphs.load(spec.files[0].path), image)
    faces = expected["scores"][0] > 0.5
    assert faces.any()
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    for name in ("boxes", "landmarks"):
        np.testing.assert_allclose(found[name][0][faces], expected[name][0][faces], atol=0.01)


@pytest.fixture(scope="module")
def upstream(shared: Path) -> Path:
    return shared / "models" / "upstream"


@pytest.fixture(scope="module")
def weights(upstream: Path) -> WeightFile:
    weights = weight_files.read(upstream / "retinaface_mnet025_foamliu.pth")
    assert weights is not None
    return weights


def test_a_public_state_dict_without_shapes_is_the_same_network(weights: WeightFile) -> None:
    flat = {f"module.{name}": values.ravel() for name, values in weights.arrays.items()}
    poured = pour(WeightFile(Path("retinaface.wts"), "wts", flat, flat=True))
    assert poured.size is None
    assert poured.model.SerializeToString() == pour(weights).model.SerializeToString()


def test_a_public_state_dict_gives_what_its_public_export_gives(
    weights: WeightFile, upstream: Path, samples: Path, run: Run
) -> None:
    image = canvas(samples / "group.jpg", 640) - np.array([104, 117, 123], np.float32)
    planar = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    found = run(pour(weights).model, planar)
    exported = onnx.load(upstream / "retinaface_mnet025_640.onnx")
    expected = {values.shape[-1]: values for values in run(exported, planar).values()}
    assert (expected[2][0, :, 1] > 0.9).any()
    for name, width in {"loc": 4, "conf": 2, "landms": 10}.items():
        np.testing.assert_allclose(found[name], expected[width], atol=1e-3)


def test_both_files_of_a_network_are_imported_alike(upstream: Path, shared: Path, run: Run, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    names = ("retinaface_mnet025_foamliu.pth", "retinaface_mnet025_640.onnx")
    one, other = (import_model(upstream / name, into=store, sizes=[(640, 640)]) for name in names)
    assert one.family == other.family == "retinaface"
    photos = [canvas(shared / "photos" / name, 640) for name in ("two_people.jpg", "deepface_selfie-many-people.jpg")]
    images = np.concatenate(photos)
    expected, found = (run(graphs.load(spec.files[0].path), images) for spec in (other, one))
    faces = expected["scores"] > 0.5
    assert np.min(faces.sum(axis=1)) > 2
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    for name in ("boxes", "landmarks"):
        np.testing.assert_allclose(found[name][faces], expected[name][faces], atol=0.02)
