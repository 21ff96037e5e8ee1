"""The shipped pair as TensorRT is given it: types where they belong, and the same faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.base import Image
from engines.embedder import Embedder
from engines.geometry.align import align
from engines.graphs import consumers
from engines.onnxruntime import OnnxRuntimeEngine
from engines.plans import Precision
from engines.precision import FLOAT, FLOAT16, PRODUCTS, float16_names, for_tensorrt
from engines.single_shot import SingleShotDetector

Array = NDArray[Any]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FILES = ("retinaface_mnet025/640x640.onnx", "retinaface_mnet025/192x192.onnx", "mobilefacenet_256/112x112.onnx")
BORDERS = {
    "detector": {"input/float", "body/loc/float32", "body/Concat_1_output_0/float32", "body/landms/float32"},
    "embedder": {"input/float", "body/emb/float32"},
}


def run(model: ModelProto, images: Array, outputs: list[str] | None = None) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = outputs or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def types(model: ModelProto) -> dict[str, int]:
    """The element type of every tensor and weight."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


def noise(model: ModelProto, rows: int = 2) -> Array:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(5).integers(0, 256, (rows, *shape), np.uint8)


@pytest.fixture(params=FILES)
def shipped(request: pytest.FixtureRequest, weights: Path) -> ModelProto:
    return onnx.load(weights / request.param)


def with_output(model: ModelProto, name: str, kind: int) -> ModelProto:
    """`model` with the tensor `name` (N, 3, H, W) for an output too."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_tensor_value_info(name, kind, ["N", 3, "h", "w"]))
    return copy


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_network_gets_the_very_same_pixels(shipped: ModelProto, precision: Precision) -> None:
    images = noise(shipped)
    images.reshape(-1)[:256] = range(256)
    (expected,) = run(with_output(shipped, "input/centred", FLOAT), images, ["input/centred"]).values()
    typed = for_tensorrt(shipped, precision)
    kind = types(typed)["input/centred"]
    (found,) = run(with_output(typed, "input/centred", kind), images, ["input/centred"]).values()
    np.testing.assert_array_equal(found.astype(np.float32), expected)


def test_casting_first_changes_no_bit(weights: Path) -> None:
    model = onnx.load(weights / FILES[0])
    images = noise(model)
    for name, values in run(for_tensorrt(model, "fp32"), images).items():
        np.testing.assert_array_equal(values, run(model, images)[name])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bytes_go_straight_into_cast(shipped: ModelProto, precision: Precision) -> None:
    typed = for_tensorrt(shipped, precision)
    (images,) = typed.graph.input
    assert [node.op_type for node in consumers(typed.graph, images.name)] == ["Cast"]
    assert [name for name, kind in types(typed).items() if kind == TensorProto.UINT8] == [images.name]


def test_only_the_borders_are_cast(shipped: ModelProto) -> None:
    typed = for_tensorrt(shipped, "fp16")
    task = "detector" if typed.graph.input[0].name == "images" else "embedder"
    assert {node.name for node in typed.graph.node if node.op_type == "Cast"} == BORDERS[task]


@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_the_head_is_float32(shipped: ModelProto, precision: Precision) -> None:
    typed = for_tensorrt(shipped, precision)
    kinds = types(typed)
    head = [node for node in typed.graph.node if node.name.startswith("head/")]
    assert len(head) > 4
    assert not [name for node in head for name in (*node.input, *node.output) if kinds[name] == FLOAT16]
    assert [v.type.tensor_type.elem_type for v in typed.graph.output] == [FLOAT] * len(typed.graph.output)


def test_the_body_is_float16(shipped: ModelProto) -> None:
    typed = for_tensorrt(shipped, "fp16")
    kinds = types(typed)
    body = [node for node in typed.graph.node if node.name.startswith("body/") and node.op_type != "Cast"]
    assert len(body) > 90
    wide = {(node.op_type, name) for node in body for name in (*node.input, *node.output) if kinds.get(name) == FLOAT}
    assert {kind for kind, _ in wide} <= {"Resize"}
    assert all(name.endswith("/scales") for _, name in wide)
    assert {node.name for node in body} <= float16_names(typed)


def test_mixed_has_products_in_float16_and_nothing_else(shipped: ModelProto) -> None:
    typed = for_tensorrt(shipped, "mixed")
    kinds = types(typed)
    body = [node for node in typed.graph.node if node.name.startswith("body/") and node.op_type != "Cast"]
    for node in body:
        assert kinds[node.output[0]] == (FLOAT16 if node.op_type in PRODUCTS else FLOAT), node.name
    casts = [node for node in typed.graph.node if node.op_type == "Cast"]
    assert len({(node.input[0], node.attribute[0].i) for node in casts}) == len(casts)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_batch_normalisation_is_left(shipped: ModelProto, precision: Precision) -> None:
    assert "BatchNormalization" not in {node.op_type for node in for_tensorrt(shipped, precision).graph.node}


def test_the_model_given_is_left_alone(shipped: ModelProto) -> None:
    before = shipped.SerializeToString(deterministic=True)
    for_tensorrt(shipped, "fp16")
    assert shipped.SerializeToString(deterministic=True) == before


def rounded(typed: ModelProto) -> ModelProto:
    """The slow twin: float32 nodes whose results are rounded wherever `typed` says float16.

    ONNX Runtime has few float16 kernels for a CPU: it rounds the weights, and drops the rounding between nodes.
    """
    kinds, graph, nodes = types(typed), typed.graph, []
    initializers = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type == FLOAT16
        else tensor
        for tensor in graph.initializer
    ]
    for original in graph.node:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        name = node.output[0]
        if node.op_type == "Cast":
            node.attribute[0].i = FLOAT
        nodes.append(node)
        if kinds[name] == FLOAT16:
            node.output[0] = f"{name}/exact"
            nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/rounded"], to=FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}/rounded"], [name], to=FLOAT))
    copy = helper.make_graph(nodes, "rounded", graph.input, graph.output, initializers)
    return helper.make_model(copy, opset_imports=typed.opset_import, ir_version=typed.ir_version)


@pytest.fixture(scope="module")
def photos(samples: Path) -> list[Image]:
    return [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted(samples.glob("*.jpg"))]


@pytest.fixture(params=[("fp16", False), ("mixed", False), ("fp16", True)], ids=["fp16", "mixed", "fp16 rounded"])
def rewritten(request: pytest.FixtureRequest, weights: Path, tmp_path: Path) -> Callable[[str], OnnxRuntimeEngine]:
    """Loads a shipped network by its path, rewritten."""
    precision, is_rounded = request.param

    def load(path: str) -> OnnxRuntimeEngine:
        typed = for_tensorrt(onnx.load(weights / path), precision)
        onnx.save(rounded(typed) if is_rounded else typed, tmp_path / "typed.onnx")
        return OnnxRuntimeEngine(tmp_path / "typed.onnx")

    return load


def iou(a: Array, b: Array) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = float(sides.prod())
    return common / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common)


def test_float16_finds_the_same_faces(
    rewritten: Callable[[str], OnnxRuntimeEngine], detector: SingleShotDetector, photos: list[Image]
) -> None:
    typed = SingleShotDetector([rewritten(FILES[0]), rewritten(FILES[1])])
    faces = 0
    for photo in photos:
        expected, found = detector.detect(photo), typed.detect(photo)
        assert len(found) == len(expected)
        faces += len(found)
        np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
        assert np.abs(found.landmarks - expected.landmarks).max() <= 0.5
        assert min(map(iou, found.boxes, expected.boxes)) >= 0.99
    typed.close()
    assert faces >= 4


def test_float16_gives_the_same_embeddings(
    rewritten: Callable[[str], OnnxRuntimeEngine], detector: SingleShotDetector, embedder: Embedder, photos: list[Image]
) -> None:
    crops = np.stack([align(photo, points) for photo in photos for points in detector.detect(photo).landmarks])
    typed = Embedder(rewritten(FILES[2]))
    (found, norms), (expected, expected_norms) = typed.embed(crops), embedder.embed(crops)
    typed.close()
    assert (np.sum(found * expected, axis=1) >= 0.999).all()
    np.testing.assert_allclose(norms, expected_norms, rtol=0.01)
