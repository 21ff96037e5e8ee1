"""What all embedders share: a network from a face to one vector, made canonical.

Canonical: `crops` uint8 (N, h, w, 3) BGR → `embeddings` (N, D) of unit length and `norms` (N,), the length before,
float32. The nodes after the network are named `head/…`: they want float32.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto
from onnx.helper import make_tensor_value_info

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import Preprocessing, attach
from engines.families.static import Shapes, outputs_of
from engines.graphs import GraphBuilder, assemble, producer

SMALLEST_NORM = 1e-12  # a zero vector stays zero instead of becoming NaN
NORM_STEPS = ("Abs", "Add", "Cast", "Clip", "Expand", "Max", "Pow", "Reciprocal", "Sqrt", "Unsqueeze", "Reshape")
NORMS_ARE_ONE = "Norms are 1: the network normalises its vector itself."


def vectors(outputs: Shapes) -> dict[str, int]:
    """Names and lengths of the outputs that are a vector an image, of those of one image; feature maps and single
    numbers (a norm) are none."""
    lengths = {name: int(np.prod([n or 0 for n in shape])) for name, shape in outputs.items()}
    return {name: n for name, n in lengths.items() if n > 1 and outputs[name][1:] and n in outputs[name]}


def canonical(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical embedder for crops of `size`; ModelError unless `body` gives exactly one vector a crop."""
    outputs = outputs_of(body)
    found = vectors(outputs)
    if len(found) != 1:
        raise ModelError(f"outputs {outputs} for one image: an embedder has exactly one vector, (1, D)")
    [(vector, dimension)] = found.items()
    before, head = GraphBuilder("input"), GraphBuilder("head")
    note = NORMS_ARE_ONE if _is_normalised(body.graph, vector) else ""
    attach(body.graph, body.graph.input[0].name, expected, before, "crops")
    _normalise(head, vector, dimension)
    model = assemble(
        [*before.nodes, *body.graph.node, *head.nodes],
        [*before.initializers, *body.graph.initializer, *head.initializers],
        [make_tensor_value_info("crops", TensorProto.UINT8, ["N", *size, 3])],
        [
            make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", dimension]),
            make_tensor_value_info("norms", TensorProto.FLOAT, ["N"]),
        ],
    )
    return Converted(model, dimension, note)


def _is_normalised(graph: GraphProto, name: str) -> bool:
    """Whether the network divides its vector by its length itself."""
    node = producer(graph, name)
    while node is not None and node.op_type in ("Identity", "Reshape", "Flatten", "Squeeze"):
        node = producer(graph, node.input[0])
    if node is None or node.op_type == "LpNormalization":
        return node is not None
    return node.op_type in ("Div", "Mul") and any(_is_length(graph, source) for source in node.input)


def _is_length(graph: GraphProto, name: str) -> bool:
    node = producer(graph, name)
    while node is not None and node.op_type in NORM_STEPS:
        node = producer(graph, node.input[0])
    return node is not None and node.op_type in ("ReduceL2", "ReduceSum", "ReduceSumSquare")


def _normalise(head: GraphBuilder, vector: str, dimension: int) -> None:
    flat = head.op("Reshape", vector, head.constant([0, dimension], np.int64, name="shape"), name="vector")
    length = head.op("ReduceL2", flat, name="length", axes=[1], keepdims=1)
    divisor = head.op("Max", length, head.constant(SMALLEST_NORM, np.float32, name="smallest"), name="divisor")
    head.add("Div", [flat, divisor], ["embeddings"])
    head.add("Squeeze", [length, head.constant([1], np.int64, name="axis")], ["norms"])
