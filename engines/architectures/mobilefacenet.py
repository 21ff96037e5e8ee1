"""MobileFaceNet (Chen et al. 2018) twice as wide, as InsightFace's arcface_torch has it (`get_mbf`).

Output: `embedding` (N, 512), not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers

STAGES = (
    # channels; inner channels of the bottleneck that halves the sides; blocks after it, and their inner channels
    (128, 128, 4, 128),
    (256, 256, 6, 256),
    (256, 512, 2, 256),
)
DIMENSION = 512


def mobilefacenet(net: Layers, crops: Features) -> Mapping[str, Features]:
    x = _conv_block(net, crops, "layers.0", 128, 3, stride=2)
    x = _conv_block(net, x, "layers.1", 128, 3, groups=64)
    for stage, (channels, halving, blocks, inner) in enumerate(STAGES):
        x = _bottleneck(net, x, f"layers.{2 * stage + 2}", channels, halving, stride=2)
        for i in range(blocks):
            x = net.add(x, _bottleneck(net, x, f"layers.{2 * stage + 3}.layers.{i}", channels, inner))
    x = _conv_block(net, x, "conv_sep", 512, 1)
    x = net.conv(x, "features.layers.0.layers.0", 512, (x.shape[1], x.shape[2]), padding=0, groups=512)
    x = net.flatten(net.batch_norm(x, "features.layers.0.layers.1"))
    x = net.linear(x, "features.layers.2", DIMENSION, bias=False)
    return {"embedding": net.batch_norm(x, "features.layers.3")}


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
