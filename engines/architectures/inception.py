"""Inception-ResNet-v1 (Szegedy et al. 2017) as facenet-pytorch has it for FaceNet (Schroff et al. 2015).

Output: `embedding` (N, dimension) of unit length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.architectures.layers import Features, Layers, Pair

EPSILON = 1e-3  # of each BatchNormalization, TensorFlow's usual one


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, BatchNormalization and Relu. It pads half its kernel unless told otherwise."""

    channels: int
    kernel: Pair
    stride: int = 1
    padding: int | None = None


Branch = tuple[Conv, ...]
"""One after the other."""

STEM_1 = {"conv2d_1a": Conv(32, 3, 2, 0), "conv2d_2a": Conv(32, 3, padding=0), "conv2d_2b": Conv(64, 3)}
STEM_2 = {"conv2d_3b": Conv(80, 1), "conv2d_4a": Conv(192, 3, padding=0), "conv2d_4b": Conv(256, 3, 2, 0)}

BLOCK_35: tuple[Branch, ...] = (
    (Conv(32, 1),),
    (Conv(32, 1), Conv(32, 3)),
    (Conv(32, 1), Conv(32, 3), Conv(32, 3)),
)
BLOCK_17: tuple[Branch, ...] = ((Conv(128, 1),), (Conv(128, 1), Conv(128, (1, 7)), Conv(128, (7, 1))))
BLOCK_8: tuple[Branch, ...] = ((Conv(192, 1),), (Conv(192, 1), Conv(192, (1, 3)), Conv(192, (3, 1))))
MIXED_6A: tuple[Branch, ...] = ((Conv(384, 3, 2, 0),), (Conv(192, 1), Conv(192, 3), Conv(256, 3, 2, 0)))
MIXED_7A: tuple[Branch, ...] = (
    (Conv(256, 1), Conv(384, 3, 2, 0)),
    (Conv(256, 1), Conv(256, 3, 2, 0)),
    (Conv(256, 1), Conv(256, 3), Conv(256, 3, 2, 0)),
)


def inception_resnet_v1(net: Layers, crops: Features) -> Mapping[str, Features]:
    x = _stem(net, crops)
    for i in range(5):
        x = net.relu(_residual(net, x, f"repeat_1.{i}", BLOCK_35, scale=0.17))
    x = _reduction(net, x, "mixed_6a", MIXED_6A)
    for i in range(10):
        x = net.relu(_residual(net, x, f"repeat_2.{i}", BLOCK_17, scale=0.10))
    x = _reduction(net, x, "mixed_7a", MIXED_7A)
    for i in range(5):
        x = net.relu(_residual(net, x, f"repeat_3.{i}", BLOCK_8, scale=0.20))
    x = _residual(net, x, "block8", BLOCK_8, scale=1)
    x = net.linear(net.flatten(net.average(x)), "last_linear", net.dimension, bias=False)
    return {"embedding": net.unit_length(net.batch_norm(x, "last_bn", EPSILON))}


def _stem(net: Layers, x: Features) -> Features:
    for name, conv in STEM_1.items():
        x = _conv(net, x, name, conv)
    x = net.max_pool(x, 3, stride=2)
    for name, conv in STEM_2.items():
        x = _conv(net, x, name, conv)
    return x


def _residual(net: Layers, x: Features, name: str, branches: Sequence[Branch], scale: float) -> Features:
    """x and a fraction of what the branches see in it."""
    y = net.conv(net.concat(_side_by_side(net, x, name, branches)), f"{name}.conv2d", x.channels, 1, bias=True)
    return net.add(net.scale(y, scale) if scale != 1 else y, x)


def _reduction(net: Layers, x: Features, name: str, branches: Sequence[Branch]) -> Features:
    """Half the sides: the branches, and beside them the largest of each 3x3 window."""
    return net.concat([*_side_by_side(net, x, name, branches), net.max_pool(x, 3, stride=2)])


def _side_by_side(net: Layers, x: Features, name: str, branches: Sequence[Branch]) -> list[Features]:
    """What each branch gives; a lone convolution is the branch itself, several are numbered in it."""
    ends = []
    for i, branch in enumerate(branches):
        y, module = x, f"{name}.branch{i}"
        for j, conv in enumerate(branch):
            y = _conv(net, y, f"{module}.{j}" if len(branch) > 1 else module, conv)
        ends.append(y)
    return ends


def _conv(net: Layers, x: Features, name: str, conv: Conv) -> Features:
    x = net.conv(x, f"{name}.conv", conv.channels, conv.kernel, stride=conv.stride, padding=conv.padding)
    return net.relu(net.batch_norm(x, f"{name}.bn", EPSILON))
