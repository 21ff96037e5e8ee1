"""MobileFaceNet (Chen et al. 2018), as InsightFace's arcface_torch has it (`get_mbf`, `get_mbf_large`), and others.

Output: `embedding` (N, dimension), not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers

LAST = 512
"""Channels of the last features."""
STAGES = (
    # channels, times the network's width; inner channels of the bottleneck that halves the sides; and of those after it
    (64, 128, 128),
    (128, 256, 256),
    (128, 512, 256),
)


def mobilefacenet(net: Layers, crops: Features) -> Mapping[str, Features]:
    """Twice as wide as the paper's."""
    return _mobilefacenet(net, crops, 2, (1, 4, 6, 2))


def large(net: Layers, crops: Features) -> Mapping[str, Features]:
    """Four times as wide and twice as deep."""
    return _mobilefacenet(net, crops, 4, (2, 8, 12, 4))


def narrow(net: Layers, crops: Features) -> Mapping[str, Features]:
    """As wide as the paper's."""
    return _mobilefacenet(net, crops, 1, (1, 4, 6, 2))


def _mobilefacenet(
    net: Layers, crops: Features, width: int, blocks: tuple[int, int, int, int]
) -> Mapping[str, Features]:
    """`blocks` before the first halving, where one is no residual, and after each."""
    x = _conv_block(net, crops, "layers.0", 64 * width, 3, stride=2)
    if blocks[0] == 1:
        x = _conv_block(net, x, "layers.1", 64 * width, 3, groups=64)
    else:
        x = _residuals(net, x, "layers.1", blocks[0], inner=128)
    for stage, (channels, halving, inner) in enumerate(STAGES, start=1):
        x = _bottleneck(net, x, f"layers.{2 * stage}", channels * width, halving, stride=2)
        x = _residuals(net, x, f"layers.{2 * stage + 1}", blocks[stage], inner)
    x = _conv_block(net, x, "conv_sep", LAST, 1)
    x = net.conv(x, "features.layers.0.layers.0", LAST, (x.shape[1], x.shape[2]), padding=0, groups=LAST)
    x = net.flatten(net.batch_norm(x, "features.layers.0.layers.1"))
    x = net.linear(x, "features.layers.2", net.dimension, bias=False)
    return {"embedding": net.batch_norm(x, "features.layers.3")}


def _residuals(net: Layers, x: Features, name: str, count: int, inner: int) -> Features:
    for i in range(count):
        x = net.add(x, _bottleneck(net, x, f"{name}.layers.{i}", x.channels, inner))
    return x


def _bottleneck(net: Layers, x: Features, name: str, channels: int, inner: int, stride: int = 1) -> Features:
    """Widens, convolves each channel by itself, narrows without an activation (Sandler et al. 2018)."""
    x = _conv_block(net, x, f"{name}.layers.0", inner, 1)
    x = _conv_block(net, x, f"{name}.layers.1", inner, 3, stride=stride, groups=inner)
    return net.batch_norm(net.conv(x, f"{name}.layers.2.layers.0", channels, 1), f"{name}.layers.2.layers.1")


def _conv_block(
    net: Layers, x: Features, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Features:
    x = net.conv(x, f"{name}.layers.0", channels, kernel, stride=stride, groups=groups)
    return net.prelu(net.batch_norm(x, f"{name}.layers.1"), f"{name}.layers.2")
