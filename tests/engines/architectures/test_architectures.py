"""Each network against what is published of it, and through the project's own importer."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from engines import graphs
from engines.architectures import ARCHITECTURES, Weights, build, random_weights
from engines.base import ModelError, RuntimeMissingError
from engines.families.static import static_shapes
from engines.importing import import_model
from engines.models import ModelStore

Array = NDArray[Any]
Built = Callable[[str], ModelProto]
Crops = Callable[[int], Array]
Run = Callable[[ModelProto, Array], dict[str, Array]]
PUBLISHED = {
    # name: parameters as PyTorch counts them, multiply-adds of one image of the usual size in thousand millions
    "retinaface_mnet025": (426_608, 0.98),
    "retinaface_r50": (27_293_600, 44.3),
    "arcface_r50": (43_590_848, 6.3),
    "arcface_r100": (65_156_160, 12.1),
    "mobilefacenet_512": (2_059_520, 0.44),
    "facenet": (23_482_624, 1.42),
}
QUICK = sorted(PUBLISHED.keys() - {"arcface_r100"})
EMBEDDERS = [name for name in QUICK if ARCHITECTURES[name].family != "retinaface"]
DETECTORS = ["retinaface_mnet025", "retinaface_r50"]
FLOAT16_MOST = 65_504


def counting(sizes: dict[str, int]) -> Weights:
    """Zeros, and how many of each parameter are asked for; statistics are no parameters."""

    def weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if not name.endswith((".running_mean", ".running_var")):
            assert name not in sizes
            sizes[name] = prod(shape)
        return np.zeros(shape, np.float32)

    return weights


def multiply_adds(model: ModelProto) -> int:
    """Of convolutions and matrix products, for one image."""
    shapes = static_shapes(model)
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weights, made = ([n or 0 for n in shapes[name]] for name in (node.input[1], node.output[0]))
            total += prod(weights) * prod(made[2:])  # each weight once for each pixel
    return total


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_and_work_are_those_published(name: str) -> None:
    sizes: dict[str, int] = {}
    model = build(name, weights=counting(sizes))
    parameters, giga = PUBLISHED[name]
    assert sum(sizes.values()) == parameters
    assert multiply_adds(model) / 1e9 == pytest.approx(giga, rel=0.02)


def test_every_architecture_is_published() -> None:
    assert PUBLISHED.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", QUICK)
def test_random_weights_keep_every_layer_well_within_float16(name: str, built: Built, run: Run) -> None:
    model = ModelProto()
    model.CopyFrom(built(name))
    named = {output.name for output in model.graph.output}
    inner = [made for node in model.graph.node for made in node.output if made not in named]
    model.graph.output.extend(helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in inner)
    _, *shape = graphs.shape_of(model.graph.input[0])
    images = np.random.default_rng(1).uniform(-1, 1, (2, *map(int, filter(None, shape)))).astype(np.float32)
    for layer, values in run(model, images * np.float32(ARCHITECTURES[name].reach)).items():
        assert np.abs(values).max() < FLOAT16_MOST / 100, layer
        assert np.sqrt(np.square(values, dtype=np.float64).mean()) > 0.01, layer


@pytest.mark.parametrize("name", EMBEDDERS)
def test_an_imported_embedder_gives_what_the_bare_network_gives(
    name: str, built: Built, run: Run, crops: Crops, tmp_path: Path
) -> None:
    row = ARCHITECTURES[name]
    source = tmp_path / f"{name}.onnx"
    source.write_bytes(built(name).SerializeToString())
    spec = import_model(source, family=row.family, into=ModelStore(tmp_path / "store"))
    assert (spec.sizes, spec.dimension) == ((row.size,), 512)

    faces = crops(row.size[0])
    scaled = (faces[..., ::-1].astype(np.float32) - 127.5) / (128 if name == "facenet" else 127.5)
    (vectors,) = run(built(name), np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))).values()
    found = run(graphs.load(spec.files[0].path), faces)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found["embeddings"], vectors / lengths, atol=2e-4)
    np.testing.assert_allclose(found["norms"], lengths[:, 0], rtol=1e-3)
    assert found["embeddings"][0] @ found["embeddings"][1] < 0.99  # two people are told apart at all


@pytest.mark.parametrize("name", DETECTORS)
def test_an_imported_detector_gives_what_the_bare_network_gives(
    name: str, built: Built, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / f"{name}.onnx"
    source.write_bytes(built(name).SerializeToString())
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path / "store"))
    assert spec.sizes == ((64, 64),)

    images = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), np.uint8)
    centred = images - np.array([104, 117, 123], np.float32)
    bare = run(built(name), np.ascontiguousarray(centred.transpose(0, 3, 1, 2)))
    found = run(graphs.load(spec.files[0].path), images)
    assert {key: value.shape for key, value in bare.items()} == {
        "loc": (2, 168, 4), "conf": (2, 168, 2), "landms": (2, 168, 10)
    }  # fmt: skip
    np.testing.assert_allclose(found["scores"], -np.sort(-bare["conf"][..., 1], axis=1), atol=1e-4)


def test_a_detector_built_for_one_size_is_imported_for_others(built: Built, tmp_path: Path) -> None:
    source = tmp_path / "detector.onnx"
    source.write_bytes(built("retinaface_mnet025").SerializeToString())
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path), sizes=[(960, 1280), (640, 640)])
    assert spec.sizes == ((960, 1280), (640, 640))


def test_the_same_network_has_the_same_bytes_each_time(built: Built) -> None:
    once = built("retinaface_mnet025").SerializeToString(deterministic=True)
    assert build("retinaface_mnet025", (64, 64)).SerializeToString(deterministic=True) == once
    other = build("retinaface_mnet025", (64, 64), random_weights(1, 128))
    assert other.SerializeToString(deterministic=True) != once


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ModelError, match="known are arcface_r100, arcface_r50, facenet"):
        build("resnet")
    with pytest.raises(ModelError, match="multiples of 32"):
        build("retinaface_mnet025", (100, 100))
    with pytest.raises(ModelError, match="160x160"):
        build("facenet", (112, 112))
    with pytest.raises(ModelError, match=r"'conv1.weight' have the shape \(3,\)"):
        build("arcface_r50", weights=lambda name, shape: np.zeros(3, np.float32))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.architectures.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        build("facenet")
