"""PReLU on large maps, where ONNX Runtime's own is slow: the same numbers from fewer and cheaper passes.

P-Net takes half of its time so on a CPU (docs/adr/0005-mtcnn.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from engines.graphs import array, attribute, constants, consumers, producer


def pool_before_prelu(graph: GraphProto) -> None:
    """Rewrites, in place, each Conv → PRelu → MaxPool → Conv whose tensors nobody else reads; leaves all else alone.

    A slope from 0 up keeps the order, so the largest of a window may be found first. With a negative one the answer is
    the larger of two maxima, that of x and that of slope·x; the latter is a convolution as well, with weights times the
    slope. PReLU then has a quarter of the pixels left.
    """
    for prelu in [node for node in graph.node if node.op_type == "PRelu"]:
        weights = constants(graph)
        conv = producer(graph, prelu.input[0])
        after = [consumers(graph, name) for name in (prelu.input[0], prelu.output[0])]
        if conv is None or not _is_plain(conv, weights) or [len(readers) for readers in after] != [1, 1]:
            continue
        (pool,) = after[1]
        readers = consumers(graph, pool.output[0])
        slopes = weights.get(prelu.input[1])
        if slopes is None or pool.op_type != "MaxPool" or len(pool.output) > 1 or len(readers) != 1:
            continue
        if _is_plain(readers[0], weights) and slopes.dims == [weights[conv.input[1]].dims[0], 1, 1]:
            _rewrite(graph, conv, prelu, pool, readers[0], weights)


def prelu_as_relu(graph: GraphProto) -> None:
    """Rewrites, in place, each PRelu of a map as slope·x + (1 − slope)·Relu(x), four passes that are all vectorised."""
    weights = constants(graph)
    for prelu in [node for node in graph.node if node.op_type == "PRelu"]:
        x, slopes = prelu.input[0], weights.get(prelu.input[1])
        if slopes is None or len(slopes.dims) != 3:
            continue
        name, slope = prelu.output[0], array(slopes)
        names = {part: f"{name}/{part}" for part in ("relu", "rest", "bent", "straight")}
        graph.initializer.append(numpy_helper.from_array(1 - slope, names["rest"]))
        nodes = [
            helper.make_node("Relu", [x], [names["relu"]], name=names["relu"]),
            helper.make_node("Mul", [names["relu"], names["rest"]], [names["bent"]], name=names["bent"]),
            helper.make_node("Mul", [x, prelu.input[1]], [names["straight"]], name=names["straight"]),
            helper.make_node("Add", [names["straight"], names["bent"]], [name], name=prelu.name),
        ]
        _replace(graph, prelu, nodes)


def _replace(graph: GraphProto, node: NodeProto, nodes: Sequence[NodeProto]) -> None:
    at = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, each in enumerate(nodes):
        graph.node.insert(at + offset, each)


def _is_plain(node: NodeProto, weights: dict[str, TensorProto]) -> bool:
    """Whether it is a convolution of one group with weights and bias that are known."""
    known = len(node.input) == 3 and set(node.input[1:]) <= set(weights)
    return node.op_type == "Conv" and known and attribute(node, "group", 1) == 1


def _rewrite(
    graph: GraphProto,
    conv: NodeProto,
    prelu: NodeProto,
    pool: NodeProto,
    reader: NodeProto,
    weights: dict[str, TensorProto],
) -> None:
    """The channels with a negative slope come first, and once more, scaled, at the end. Where all slopes have one sign
    it is left alone: some runtimes know no tensor without channels."""
    slope = array(weights[prelu.input[1]]).ravel()
    falling, rising = np.flatnonzero(slope < 0), np.flatnonzero(slope >= 0)
    if not len(falling) or not len(rising):
        return
    order = np.concatenate([falling, rising])
    name = prelu.output[0]

    def constant(values: NDArray[np.float32] | NDArray[np.int64], what: str) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), f"{name}/{what}"))
        return f"{name}/{what}"

    for position, what in ((1, "weights"), (2, "bias")):
        values = array(weights[conv.input[position]])
        factors = slope[falling].reshape(-1, *[1] * (values.ndim - 1))
        conv.input[position] = constant(np.concatenate([values[order], values[falling] * factors]), what)
    reader.input[1] = constant(array(weights[reader.input[1]])[:, order], "next")
    lengths = constant(np.array([len(falling), len(rising), len(falling)], np.int64), "lengths")
    rising_slopes = constant(slope[rising].astype(np.float32)[:, None, None], "rising")
    pooled = pool.output[0]
    pool.input[0] = conv.output[0]
    pool.output[0] = f"{name}/pooled"
    parts = [f"{name}/{part}" for part in ("plain", "above", "scaled")]
    nodes = [
        helper.make_node("Split", [pool.output[0], lengths], parts, name=f"{name}/split", axis=1),
        helper.make_node("Max", [parts[0], parts[2]], [f"{name}/fallen"], name=f"{name}/fallen"),
        helper.make_node("PRelu", [parts[1], rising_slopes], [f"{name}/risen"], name=f"{name}/risen"),
        helper.make_node("Concat", [f"{name}/fallen", f"{name}/risen"], [pooled], name=f"{name}/joined", axis=1),
    ]
    graph.node.remove(prelu)
    after = NodeProto()
    after.CopyFrom(pool)
    _replace(graph, pool, [after, *nodes])
