"""Batch normalisation folded into what is before it: the numbers stay, the node goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from engines.folding import fold_normalisation

RANDOM = np.random.default_rng(3)
CHANNELS = 6
IMAGES = ["n", 4, 5, 5]
ROWS = ["n", 8]


def normal(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def normalised(before: list[NodeProto], weights: dict[str, Any], shape: list[Any], outputs: list[str]) -> ModelProto:
    """A network with the batch normalisation `y` of `x`, or of the input `in` where `before` makes no `x`; and `z`."""
    source = "x" if before else "in"
    nodes = [
        *before,
        helper.make_node("BatchNormalization", [source, "gain", "offset", "mean", "var"], ["y"], epsilon=1e-3),
        helper.make_node("Relu", [source], ["z"]),
    ]
    nodes = nodes if "z" in outputs else nodes[:-1]
    tiny_variances = RANDOM.uniform(1e-9, 2, CHANNELS) * [1, 1, 1, 1, 1, 0]  # the last one would be zero in float16 too
    parameters = {"gain": normal(CHANNELS), "offset": normal(CHANNELS), "mean": normal(CHANNELS), "var": tiny_variances}
    graph = helper.make_graph(
        nodes,
        "normalised",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in (weights | parameters).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def folded(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    values = (*copy.graph.input, *copy.graph.value_info, *copy.graph.output)
    fold_normalisation(copy.graph, {value.name: len(value.type.tensor_type.shape.dim) for value in values})
    onnx.checker.check_model(copy, full_check=True)
    return copy


def run(model: ModelProto) -> list[NDArray[Any]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (spec,) = session.get_inputs()
    rows = np.random.default_rng(0).normal(size=(3, *spec.shape[1:])).astype(np.float32)
    return list(session.run(None, {spec.name: rows}))


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def conv(*inputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node("Conv", ["in", *inputs], ["x"], pads=[1, 1, 1, 1], **attributes)


def gemm(*inputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node("Gemm", ["in", *inputs], ["x"], **attributes)


KERNEL, GROUPED = normal(CHANNELS, 4, 3, 3), normal(CHANNELS, 2, 3, 3)
MATRIX, BIAS = normal(8, CHANNELS), normal(CHANNELS)
FOLDABLE: dict[str, tuple[NodeProto, dict[str, Any], list[Any]]] = {
    "conv": (conv("w"), {"w": KERNEL}, IMAGES),
    "conv with bias": (conv("w", "b"), {"w": KERNEL, "b": BIAS}, IMAGES),
    "conv in groups": (conv("w", "b", group=2), {"w": GROUPED, "b": BIAS}, IMAGES),
    "gemm": (gemm("w"), {"w": MATRIX}, ROWS),
    "gemm with factors": (gemm("w", "b", alpha=0.5, beta=3.0), {"w": MATRIX, "b": BIAS}, ROWS),
    "gemm turned": (gemm("w", "b", transB=1), {"w": MATRIX.T.copy(), "b": BIAS}, ROWS),
    "gemm with one bias": (gemm("w", "b"), {"w": MATRIX, "b": np.float32(0.7)}, ROWS),
    "matmul": (helper.make_node("MatMul", ["in", "w"], ["x"]), {"w": MATRIX}, ROWS),
}


@pytest.mark.parametrize("case", FOLDABLE)
def test_it_goes_into_the_weights(case: str) -> None:
    node, weights, shape = FOLDABLE[case]
    model = normalised([node], weights, shape, ["y"])
    result = folded(model)
    assert kinds(result) == ([node.op_type, "Add"] if node.op_type == "MatMul" else [node.op_type])
    np.testing.assert_allclose(run(result)[0], run(model)[0], rtol=1e-4, atol=1e-4)


UNFOLDABLE = {
    "the layer is read elsewhere": ([conv("w")], {"w": KERNEL}, IMAGES, ["y", "z"]),
    "the layer is an output": ([conv("w")], {"w": KERNEL}, IMAGES, ["y", "x"]),
    "nothing linear before it": ([helper.make_node("Relu", ["in"], ["x"])], {}, ["n", CHANNELS, 5], ["y"]),
    "nothing before it": ([], {}, ["n", CHANNELS], ["y"]),
    "channels that are no columns": (
        [helper.make_node("MatMul", ["in", "w"], ["x"])],
        {"w": normal(8, CHANNELS)},
        ["n", CHANNELS, 8],
        ["y"],
    ),
}


@pytest.mark.parametrize("case", UNFOLDABLE)
def test_it_stays_as_scale_and_shift(case: str) -> None:
    nodes, weights, shape, outputs = UNFOLDABLE[case]
    model = normalised(nodes, weights, shape, outputs)
    result = folded(model)
    assert sorted(kinds(result)) == sorted(kinds(model))
    (node,) = (node for node in result.graph.node if node.op_type == "BatchNormalization")
    parameters = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    mean, variance = (parameters[name] for name in node.input[3:])
    assert (mean == 0).all()
    assert (variance == 1).all()
    for found, expected in zip(run(result), run(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_parameters_that_are_computed_are_left_alone() -> None:
    model = normalised([conv("w")], {"w": KERNEL}, IMAGES, ["y"])
    model.graph.node.insert(0, helper.make_node("Abs", ["var"], ["absolute"]))
    model.graph.node[-1].input[4] = "absolute"
    result = folded(model)
    assert result.graph == model.graph
