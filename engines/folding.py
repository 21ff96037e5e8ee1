"""Batch normalisation made part of the convolution or matrix product before it.

The arithmetic is float64 and done once: weights that are rounded to float16 afterwards lose less than a normalisation
computed in it, whose variance may be smaller than float16 can tell from zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from engines.graphs import array, attribute, constants, consumers, producer, prune

EPSILON = 1e-5  # where a node names none


def fold_normalisation(graph: GraphProto, ranks: Mapping[str, int]) -> None:
    """Folds, in place, each BatchNormalization of constants into the Conv, Gemm or MatMul that feeds it alone.

    One that follows something else stays, as scale and shift only: mean 0, variance 1, epsilon 0. `ranks` has the
    number of axes of each of the graph's tensors.
    """
    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        weights = constants(graph)
        if attribute(node, "training_mode", 0) or not all(name in weights for name in node.input[1:]):
            continue
        affine = _affine(node, weights)
        before = producer(graph, node.input[0])
        if before is None or not _feeds_only(graph, before, node) or not _is_foldable(before, weights, ranks):
            _simplify(graph, node, affine)
        elif before.op_type == "MatMul":
            _fold_into_product(graph, before, node, affine, weights)
        else:
            _fold_into_layer(graph, before, node, affine, weights)
    prune(graph)


@dataclass(frozen=True, slots=True)
class _Affine:
    """y = x · scale + shift for each channel, (C,) float64 both."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def _affine(node: NodeProto, weights: Mapping[str, TensorProto]) -> _Affine:
    gain, offset, mean, variance = (array(weights[name]).astype(np.float64) for name in node.input[1:])
    scale = gain / np.sqrt(variance + attribute(node, "epsilon", EPSILON))
    return _Affine(scale, offset - mean * scale)


def _feeds_only(graph: GraphProto, before: NodeProto, node: NodeProto) -> bool:
    """Whether nothing but `node` sees the output of `before`."""
    (name,) = before.output
    return consumers(graph, name) == [node] and name not in {output.name for output in graph.output}


def _is_foldable(before: NodeProto, weights: Mapping[str, TensorProto], ranks: Mapping[str, int]) -> bool:
    """Whether `before` is linear, with constant weights, and has its output's channels where its weights say."""
    if before.op_type not in ("Conv", "Gemm", "MatMul") or not all(name in weights for name in before.input[1:]):
        return False
    return before.op_type == "Conv" or ranks.get(before.output[0]) == len(weights[before.input[1]].dims) == 2


def _fold_into_layer(
    graph: GraphProto, layer: NodeProto, node: NodeProto, affine: _Affine, weights: Mapping[str, TensorProto]
) -> None:
    kernel = array(weights[layer.input[1]]).astype(np.float64)
    bias = array(weights[layer.input[2]]).astype(np.float64) if len(layer.input) > 2 else np.zeros(1)
    rows_are_channels = layer.op_type == "Conv" or attribute(layer, "transB", 0)
    scale = affine.scale.reshape(-1, *[1] * (kernel.ndim - 1)) if rows_are_channels else affine.scale
    bias = bias * attribute(layer, "beta", 1.0) * affine.scale + affine.shift
    layer.input[1:] = [_constant(graph, node, "weights", kernel * scale), _constant(graph, node, "bias", bias)]
    kept = [entry for entry in layer.attribute if entry.name != "beta"]
    del layer.attribute[:]
    layer.attribute.extend(kept)
    layer.output[:] = node.output
    graph.node.remove(node)


def _fold_into_product(
    graph: GraphProto, product: NodeProto, node: NodeProto, affine: _Affine, weights: Mapping[str, TensorProto]
) -> None:
    matrix = array(weights[product.input[1]]).astype(np.float64)
    product.input[1] = _constant(graph, node, "weights", matrix * affine.scale)
    addends = [product.output[0], _constant(graph, node, "bias", affine.shift)]
    node.CopyFrom(helper.make_node("Add", addends, node.output, name=node.name))


def _simplify(graph: GraphProto, node: NodeProto, affine: _Affine) -> None:
    ones = np.ones_like(affine.scale)
    parts = {"scale": affine.scale, "shift": affine.shift, "mean": ones * 0, "variance": ones}
    inputs = [node.input[0], *(_constant(graph, node, name, values) for name, values in parts.items())]
    node.CopyFrom(helper.make_node("BatchNormalization", inputs, node.output, name=node.name, epsilon=0.0))


def _constant(graph: GraphProto, node: NodeProto, name: str, values: NDArray[np.float64]) -> str:
    tensor = numpy_helper.from_array(values.astype(np.float32), f"{node.output[0]}/{name}")
    graph.initializer.append(tensor)
    return tensor.name
