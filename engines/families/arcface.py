"""ArcFace (Deng et al. 2019), MobileFaceNet (Chen et al. 2018) and whatever else maps an aligned face to one vector.

Canonical: `crops` uint8 (N, h, w, 3) BGR → `embeddings` (N, D) of unit length and `norms` (N,), the length before,
float32. The nodes after the network are named `head/…`: they want float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto
from onnx.helper import make_tensor_value_info

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import Preprocessing, attach, scales_itself
from engines.families.recognition import Look
from engines.families.static import static_shapes
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder, assemble, producer

SIZES = ((112, 112), (112, 96))
"""(height, width) of the crops the five-point template is known for."""
SMALLEST_NORM = 1e-12  # a zero vector stays zero instead of becoming NaN
NORM_STEPS = ("Abs", "Add", "Cast", "Clip", "Expand", "Max", "Pow", "Reciprocal", "Sqrt", "Unsqueeze", "Reshape")


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network that makes a vector of a crop."""
    return len(looks) == 1 and looks[0].size in SIZES and len(looks[0].outputs) == 1


def require_size(size: Size) -> None:
    """Crops are 112x112, or 112x96 (height x width)."""
    if size not in SIZES:
        raise ModelError(f"size {size[0]}x{size[1]}: faces are aligned to 112x112 or 112x96 (height x width)")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """InsightFace's RGB (x − 127.5) / 127.5; raw RGB where the network begins by scaling its input itself."""
    if scales_itself(body.graph, body.graph.input[0].name):
        return Preprocessing("rgb")
    return Preprocessing("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical embedder for crops of `size`; ModelError unless `body` gives exactly one vector a crop."""
    vector, dimension = _vector(body)
    before, head = GraphBuilder("input"), GraphBuilder("head")
    normalised = _is_normalised(body.graph, vector)
    attach(body.graph, body.graph.input[0].name, expected, before, "crops")
    _normalise(head, vector, dimension)
    canonical = assemble(
        [*before.nodes, *body.graph.node, *head.nodes],
        [*before.initializers, *body.graph.initializer, *head.initializers],
        [make_tensor_value_info("crops", TensorProto.UINT8, ["N", *size, 3])],
        [
            make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", dimension]),
            make_tensor_value_info("norms", TensorProto.FLOAT, ["N"]),
        ],
    )
    return Converted(
        canonical, dimension, "Norms are 1: the network normalises its vector itself." if normalised else ""
    )


def _vector(body: ModelProto) -> tuple[str, int]:
    """Name and length of the one output that is a vector an image; single numbers beside it (a norm) are left out."""
    shapes = static_shapes(body)
    lengths = {output.name: int(np.prod([n or 0 for n in shapes[output.name]])) for output in body.graph.output}
    vectors = {
        name: length for name, length in lengths.items() if length > 1 and length in shapes[name] and shapes[name][1:]
    }
    if len(vectors) != 1:
        found = {name: shapes[name] for name in lengths}
        raise ModelError(f"outputs {found} for one image: an embedder has exactly one vector, (1, D)")
    return next(iter(vectors.items()))


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
