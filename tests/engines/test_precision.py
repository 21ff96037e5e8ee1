"""Small networks in the types that TensorRT is given: the same numbers from the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.base import ModelError
from engines.graphs import GraphBuilder, assemble, constants, producer
from engines.plans import Precision
from engines.precision import FLOAT, FLOAT16, for_tensorrt

Array = NDArray[Any]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
IMAGES = np.random.default_rng(5).integers(0, 256, (2, 4, 4, 3), np.uint8)


def run(model: ModelProto, images: Array = IMAGES) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def types(model: ModelProto) -> dict[str, int]:
    """The element type of every tensor and weight."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


class Body:
    """Writes a small canonical network of any nodes: (N, 4, 4, 3) pixels in, `out` out."""

    def __init__(self, mean: float = 127.5) -> None:
        self.input, self.nodes = GraphBuilder("input"), GraphBuilder("body")
        self.op, self.constant = self.nodes.op, self.nodes.constant
        planar = self.input.op("Transpose", "images", name="planar", perm=[0, 3, 1, 2])
        pixels = self.input.op("Cast", planar, name="float", to=FLOAT)
        self.x = self.input.op("Sub", pixels, self.input.constant(mean, np.float32, name="mean"), name="centred")

    def weight(self, value: object, name: str) -> str:
        return self.constant(value, np.float32, name=name)

    def model(self, last: str, shape: list[Any]) -> ModelProto:
        head = GraphBuilder("head")
        head.add("Mul", [last, head.constant(2, np.float32, name="two")], ["out"])
        return assemble(
            [*self.input.nodes, *self.nodes.nodes, *head.nodes],
            [*self.input.initializers, *self.nodes.initializers, *head.initializers],
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 4, 4, 3])],
            [helper.make_tensor_value_info("out", FLOAT, shape)],
        )


PLANES: list[Any] = ["N", 3, 4, 4]
RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize(("mean", "kind"), [(127.5, FLOAT16), (104, FLOAT16), (103.94, FLOAT), (300, FLOAT)])
def test_pixels_are_scaled_in_float16_only_where_nothing_is_lost(mean: float, kind: int) -> None:
    body = Body(mean)
    typed = for_tensorrt(body.model(body.op("Relu", body.x, name="relu"), PLANES), "fp16")
    assert types(typed)["input/centred"] == kind
    assert types(typed)["body/relu"] == FLOAT16


def test_a_weight_beyond_float16_is_named() -> None:
    body = Body()
    model = body.model(body.op("Mul", body.x, body.weight(7e4, "huge"), name="product"), PLANES)
    for_tensorrt(model, "fp32")
    with pytest.raises(ModelError, match=r"'body/huge' has values up to 7e\+04.*precision fp32"):
        for_tensorrt(model, "fp16")


def test_a_tiny_weight_becomes_zero() -> None:
    body = Body()
    typed = for_tensorrt(body.model(body.op("Add", body.x, body.weight(1e-9, "tiny"), name="sum"), PLANES), "fp16")
    assert numpy_helper.to_array(constants(typed.graph)["body/tiny/float16"]) == 0


def test_no_bound_stays_no_bound() -> None:
    body = Body()
    bounds = body.weight(-1, "least"), body.weight(3.4e38, "most")
    model = body.model(body.op("Clip", body.x, *bounds, name="clip"), PLANES)
    np.testing.assert_array_equal(run(for_tensorrt(model, "fp16"))["out"], run(model)["out"])


def test_a_weight_of_body_and_head_is_kept_in_both_types() -> None:
    body = Body()
    shared = body.weight(0.1, "shared")
    model = body.model(body.op("Mul", body.x, shared, name="product"), PLANES)
    model.graph.node[-1].input[1] = shared
    typed = for_tensorrt(model, "fp16")
    first, last = (node.input[1] for node in typed.graph.node if node.op_type == "Mul")
    assert (types(typed)[first], types(typed)[last]) == (FLOAT16, FLOAT)


def test_a_body_may_write_an_output_itself() -> None:
    body = Body()
    relu = body.op("Relu", body.x, name="relu")
    body.nodes.add("Neg", [relu], ["raw"])
    model = body.model("raw", PLANES)
    model.graph.output.append(helper.make_tensor_value_info("raw", FLOAT, PLANES))
    typed = for_tensorrt(model, "fp16")
    for name, values in run(model).items():
        np.testing.assert_allclose(run(typed)[name], values, rtol=1e-3)
    last = producer(typed.graph, "raw")
    assert last is not None
    assert last.op_type == "Cast"


def test_constants_are_weights_too() -> None:
    body = Body()
    half = body.op("Constant", name="half", value_float=0.5)
    third = body.op("Constant", name="third", value=numpy_helper.from_array(np.full((3, 1, 1), 1 / 3, np.float32)))
    shape = body.op("Constant", name="shape", value_ints=[0, 48])
    scaled = body.op("Mul", body.op("Mul", body.x, half, name="halves"), third, name="sixths")
    model = body.model(body.op("Reshape", scaled, shape, name="flat"), ["N", 48])
    typed = for_tensorrt(model, "fp16")
    assert "Constant" not in {node.op_type for node in typed.graph.node}
    np.testing.assert_allclose(run(typed)["out"], run(model)["out"], rtol=2e-3)


def test_what_leaves_float16_s_range_does_not_enter_it() -> None:
    body = Body(0)
    length = body.op("ReduceL2", body.x, name="length", axes=[1], keepdims=1)
    model = body.model(body.op("Div", body.x, length, name="unit"), PLANES)
    typed, white = for_tensorrt(model, "fp16"), np.full((1, 4, 4, 3), 255, np.uint8)  # each squares to 65025
    assert types(typed)["body/length"] == FLOAT
    np.testing.assert_allclose(run(typed, white)["out"], run(model, white)["out"], rtol=2e-3)


def test_a_network_that_begins_otherwise_is_refused() -> None:
    body = Body()
    model = body.model(body.op("Relu", body.x, name="relu"), PLANES)
    model.graph.node[0].op_type = "Identity"
    del model.graph.node[0].attribute[:]
    with pytest.raises(ModelError, match=r"not a canonical network: .*'images'.*'Identity'"):
        for_tensorrt(model, "fp32")


STEPS: dict[str, Callable[[Body, str, str], str]] = {
    "Conv": lambda b, x, n: b.op(
        "Conv", x, b.weight(RANDOM.normal(size=(3, 3, 3, 3)) / 5, f"{n}_w"), name=n, pads=[1, 1, 1, 1]
    ),
    "PRelu": lambda b, x, n: b.op("PRelu", x, b.weight(RANDOM.uniform(0, 0.5, (3, 1, 1)), f"{n}_slope"), name=n),
    "LeakyRelu": lambda b, x, n: b.op("LeakyRelu", x, name=n, alpha=0.1),
    "Sigmoid": lambda b, x, n: b.op("Sigmoid", x, name=n),
    "Softmax": lambda b, x, n: b.op("Softmax", x, name=n, axis=1),
    "twice": lambda b, x, n: b.op("Add", x, x, name=n),
    "skip": lambda b, x, n: b.op("Add", x, b.op("Mul", b.x, b.weight(0.01, f"{n}_w"), name=f"{n}_scaled"), name=n),
    "BatchNormalization": lambda b, x, n: b.op(
        "BatchNormalization", x, *(b.weight(RANDOM.uniform(0.2, 1, 3), f"{n}_{k}") for k in "gomv"), name=n
    ),
    "Resize": lambda b, x, n: b.op(
        "MaxPool",
        b.op("Resize", x, "", b.weight([1, 1, 2, 2], f"{n}_scales"), name=f"{n}_up", mode="nearest"),
        name=n,
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    "Slice": lambda b, x, n: b.op(
        "Concat",
        b.op("Slice", x, *(b.constant([v], np.int64, name=f"{n}_{v}") for v in (0, 2, 1)), name=f"{n}_part"),
        b.op("Gather", x, b.constant([2], np.int64, name=f"{n}_last"), name=f"{n}_rest", axis=1),
        name=n,
        axis=1,
    ),
    "MatMul": lambda b, x, n: b.op("MatMul", x, b.weight(RANDOM.normal(size=(4, 4)) / 2, f"{n}_w"), name=n),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.sampled_from(PRECISIONS))
@settings(max_examples=60, deadline=None)
def test_any_network_keeps_its_numbers(steps: list[str], precision: Precision) -> None:
    body = Body()
    x = body.op("Mul", body.x, body.weight(1 / 128, "scale"), name="unit")
    for index, step in enumerate(steps):
        x = STEPS[step](body, x, f"step{index}")
    model = body.model(x, PLANES)
    typed = for_tensorrt(model, precision)
    expected, found = run(model)["out"], run(typed)["out"]
    tolerance = 1e-5 if precision == "fp32" else 0.02
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))
