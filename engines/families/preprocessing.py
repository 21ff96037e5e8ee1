"""What an upstream network expects of its caller, made part of the graph: channel order, mean and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from engines.base import ModelError
from engines.graphs import GraphBuilder, array, attribute, constants, consumers

Channels = Literal["bgr", "rgb"]
Triple = tuple[float, float, float]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """`(x − mean) / std` on pixels 0..255, per channel in the network's own order, `channels`."""

    channels: Channels
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)


RGB_BY_128 = Preprocessing("rgb", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0))
"""RGB (x − 127.5) / 128, which several families' networks are fed."""


def scales_itself(body: ModelProto) -> bool:
    """Whether the network begins by shifting or scaling its own input, and so takes raw pixels."""
    return _own_affine(body.graph, body.graph.input[0].name) is not None


def usual_or_raw(body: ModelProto, usual: Preprocessing) -> Preprocessing:
    """`usual`, which networks of a family expect, but raw pixels in its order for one that scales its input itself."""
    return Preprocessing(usual.channels) if scales_itself(body) else usual


def attach(graph: GraphProto, images: str, expected: Preprocessing, builder: GraphBuilder, uint8_images: str) -> None:
    """Writes nodes from `uint8_images` (N, H, W, 3) BGR to the network's input `images` (N, 3, H, W), both in place.

    The order Transpose (on uint8) → Cast → Sub is ONNX Runtime's cheapest. Scale and channel order go into the first
    convolution's weights, which is exact where it pads with zeros; folding the mean into its bias would not be.
    Raises ModelError when there is something to fold and the first node is not a convolution.
    """
    mean, scale = np.array(expected.mean), 1 / np.array(expected.std)
    while (affine := _own_affine(graph, images)) is not None:
        node, factor, offset = affine
        mean, scale = mean - offset / (factor * scale), scale * factor
        images = node.output[0]
        graph.node.remove(node)
    swap = expected.channels == "rgb"
    if swap or (scale != 1).any():
        _fold_into_convolution(graph, images, scale, swap=swap)
    planar = builder.op("Transpose", uint8_images, name="planar", perm=[0, 3, 1, 2])
    pixels = builder.op("Cast", planar, name="float", to=TensorProto.FLOAT)
    if mean.any():
        bgr_mean = builder.constant(mean[:: -1 if swap else 1].reshape(1, 3, 1, 1), np.float32, name="mean")
        pixels = builder.op("Sub", pixels, bgr_mean, name="centred")
    for node in consumers(graph, images):
        node.input[:] = [pixels if name == images else name for name in node.input]


def _own_affine(graph: GraphProto, images: str) -> tuple[NodeProto, Vector, Vector] | None:
    """The single node that reads `images`, with its per-channel factor and offset, if it is a shift or a scale."""
    readers = consumers(graph, images)
    if len(readers) != 1 or (operation := readers[0].op_type) not in ("Add", "Sub", "Mul", "Div"):
        return None
    [node] = readers
    # The images come first, but in sums and products they need not.
    first = 1 if operation in ("Add", "Mul") and node.input[0] != images else 0
    constant = constants(graph).get(node.input[1 - first])
    if node.input[first] != images or constant is None or np.prod(constant.dims, dtype=int) not in (1, 3):
        return None
    values = array(constant).astype(np.float64)
    if values.size == 3 and (values.ndim < 3 or values.shape[-3] != 3):
        return None  # broadcast along the width, not the channels
    value, zero, one = np.resize(values, 3), np.zeros(3), np.ones(3)
    if operation in ("Add", "Sub"):
        return node, one, zero + value if operation == "Add" else zero - value
    if not value.all():
        raise ModelError(f"the network multiplies or divides its input by zero (node {node.name!r})")
    return node, value if operation == "Mul" else 1 / value, zero


def _fold_into_convolution(graph: GraphProto, images: str, scale: Vector, *, swap: bool) -> None:
    readers = consumers(graph, images)
    plain = len(readers) == 1 and readers[0].op_type == "Conv" and attribute(readers[0], "group", 1) == 1
    weights = constants(graph).get(readers[0].input[1]) if plain else None
    if weights is None or len(weights.dims) != 4 or weights.dims[1] != 3:
        found = ", ".join(node.op_type for node in readers)
        raise ModelError(
            f"channel order and scale go into the network's first convolution, but it begins with {found}: "
            "export it with plain weights and without input operations, or as one that takes raw BGR pixels"
        )
    values = array(weights)
    if not np.isfinite(values).all():
        raise ModelError(f"the weights {weights.name!r} are not finite numbers")
    values = values.astype(np.float64) * scale.reshape(1, 3, 1, 1)
    folded = np.ascontiguousarray(values[:, ::-1] if swap else values, dtype=np.float32)
    graph.initializer.append(numpy_helper.from_array(folded, f"{weights.name}/folded"))
    readers[0].input[1] = f"{weights.name}/folded"
