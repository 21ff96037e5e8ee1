"""PReLU rewritten: the same numbers, from the nodes that are meant."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.families.prelu import pool_before_prelu, prelu_as_relu

CHANNELS = 6
MIXED = (-1.3, -0.2, 0.0, 0.4, 1.0, 1.7)


def network(slopes: tuple[float, ...], *, read_twice: bool = False) -> ModelProto:
    """Conv → PRelu → MaxPool → Conv → PRelu; with `read_twice` the first PRelu is an output too."""
    random = np.random.default_rng(0)

    def normal(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    weights = [
        normal("w1", CHANNELS, 3, 3, 3),
        normal("b1", CHANNELS),
        normal("w2", 4, CHANNELS, 2, 2),
        normal("b2", 4),
    ]
    weights += [
        numpy_helper.from_array(np.array(values, np.float32)[:, None, None], name)
        for name, values in (("s1", slopes), ("s2", MIXED[:4]))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"]),
        helper.make_node("PRelu", ["c1", "s1"], ["p1"]),
        helper.make_node("MaxPool", ["p1"], ["m1"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["m1", "w2", "b2"], ["c2"]),
        helper.make_node("PRelu", ["c2", "s2"], ["y"]),
    ]
    if read_twice:
        nodes.append(helper.make_node("Relu", ["p1"], ["z"]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")[: 1 + read_twice]]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 12, 15])
    graph = helper.make_graph(nodes, "net", [images], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: ModelProto) -> NDArray[np.float32]:
    images = np.random.default_rng(1).normal(size=(3, 3, 12, 15)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": images})[0])


@pytest.mark.parametrize(
    ("slopes", "rewritten"), [(MIXED, True), ((0.3,) * CHANNELS, False), ((-0.3,) * CHANNELS, False)]
)
def test_pooling_first_changes_no_number(slopes: tuple[float, ...], rewritten: bool) -> None:
    model = network(slopes)
    before = answer(model)
    pool_before_prelu(model.graph)
    kinds = [node.op_type for node in model.graph.node]
    assert ("Split" in kinds) == rewritten
    assert kinds.index("MaxPool") < kinds.index("PRelu") if rewritten else kinds.index("PRelu") < kinds.index("MaxPool")
    np.testing.assert_allclose(answer(model), before, rtol=1e-5, atol=1e-5)


def test_what_others_read_is_left_alone() -> None:
    model = network(MIXED, read_twice=True)
    before = model.SerializeToString()
    pool_before_prelu(model.graph)
    assert model.SerializeToString() == before


def test_relu_does_for_prelu() -> None:
    model = network(MIXED)
    before = answer(model)
    prelu_as_relu(model.graph)
    assert Counter(node.op_type for node in model.graph.node)["PRelu"] == 0
    np.testing.assert_allclose(answer(model), before, rtol=1e-5, atol=1e-5)
