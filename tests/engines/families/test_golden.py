"""Known answers of the shipped pair on a known photo, and that each mistake of old would change them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from engines.models import SHIPPED, ModelStore
from tests.engines.families.faces import BOX, LANDMARKS, is_known, photo_of

Array = NDArray[Any]
Run = Callable[[Path, Array], dict[str, Array]]

# Each mistake below moves something three times as far; the same photo compressed once more stays within half.
TOLERANCE_PX, TOLERANCE = 0.15, 0.004
EMBEDDING = [-0.0064, 0.0352, 0.0009, -0.059, 0.0079, 0.0436, 0.0262, 0.0218]


@pytest.fixture(scope="module")
def astronaut(samples: Path) -> Array:
    return photo_of(samples)


def face_of(found: dict[str, Array]) -> tuple[Array, Array]:
    return found["boxes"][0, 0], found["landmarks"][0, 0]


def is_golden_face(box: Array, landmarks: Array) -> bool:
    return bool(np.abs(box - BOX).max() < TOLERANCE_PX and np.abs(landmarks - LANDMARKS).max() < TOLERANCE_PX)


def swap_channels(model: ModelProto) -> None:
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    values = np.ascontiguousarray(numpy_helper.to_array(weights)[:, ::-1])
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def forget_mean(model: ModelProto) -> None:
    mean = next(tensor for tensor in model.graph.initializer if tensor.name == "input/mean")
    mean.CopyFrom(numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), mean.name))


def swap_axes(model: ModelProto) -> None:
    model.graph.node[0].attribute[0].ints[:] = [0, 3, 2, 1]


MISTAKES = [swap_channels, forget_mean, swap_axes]


def broken(path: Path, tmp_path: Path, mistake: Callable[[ModelProto], None]) -> Path:
    model = onnx.load(path)
    mistake(model)
    onnx.save(model, tmp_path / "broken.onnx")
    return tmp_path / "broken.onnx"


def test_the_detector_finds_the_known_face(astronaut: Array, run: Run) -> None:
    path = ModelStore(SHIPPED).get("retinaface_mnet025").files[0].path
    canvas = np.zeros((1, 640, 640, 3), np.uint8)
    canvas[0, :512, :512] = astronaut
    box, landmarks = face_of(run(path, canvas))
    assert is_golden_face(box, landmarks), (box.tolist(), landmarks.tolist())
    for order in ([1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [0, 1, 3, 4, 2]):
        assert not is_golden_face(box, landmarks[order])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_moves_the_known_face(
    astronaut: Array, run: Run, tmp_path: Path, mistake: Callable[[ModelProto], None]
) -> None:
    path = broken(ModelStore(SHIPPED).get("retinaface_mnet025").files[0].path, tmp_path, mistake)
    canvas = np.zeros((1, 640, 640, 3), np.uint8)
    canvas[0, :512, :512] = astronaut
    assert not is_golden_face(*face_of(run(path, canvas)))


def test_the_embedder_gives_the_known_vector(astronaut: Array, run: Run) -> None:
    path = ModelStore(SHIPPED).get("mobilefacenet_256").files[0].path
    embedding = run(path, astronaut[None, 60:172, 170:282])["embeddings"][0]
    assert is_known(embedding, EMBEDDING, TOLERANCE), embedding[:8].tolist()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_known_vector(
    astronaut: Array, run: Run, tmp_path: Path, mistake: Callable[[ModelProto], None]
) -> None:
    path = broken(ModelStore(SHIPPED).get("mobilefacenet_256").files[0].path, tmp_path, mistake)
    embedding = run(path, astronaut[None, 60:172, 170:282])["embeddings"][0]
    assert not is_known(embedding, EMBEDDING, TOLERANCE)
