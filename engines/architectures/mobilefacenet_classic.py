"""MobileFaceNet (Chen et al. 2018) of the paper's width, as two well-known repositories have it.

Output: `embedding` (N, dimension), not normalised: what divides it by its length there is left to the importer.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers
from engines.architectures.mobile_blocks import Blocks, whole_map

LAST = 512
"""Channels of the last features."""
STAGES = (
    # name of the bottleneck that halves the sides, and of those after it; channels; inner channels; how many; inner
    ("conv_23", "conv_3", 64, 128, 4, 128),
    ("conv_34", "conv_4", 128, 256, 6, 256),
    ("conv_45", "conv_5", 128, 512, 2, 256),
)
SETTINGS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""The same as a MobileNetV2's: how much wider a block is inside, channels, blocks, the first one's stride."""


def classic(net: Layers, crops: Features) -> Mapping[str, Features]:
    """github.com/TreB1eN/InsightFace_Pytorch, whose names many have taken over."""
    write = Blocks(net, "conv", "bn", "prelu", "conv", "conv_dw", "project")
    x = write.activated(crops, "conv1", 64, 3, stride=2)
    x = write.activated(x, "conv2_dw", 64, 3, groups=64)
    for halving, after, channels, wide, blocks, inner in STAGES:
        x = write.bottleneck(x, halving, channels, wide, stride=2)
        x = write.residuals(x, f"{after}.model", blocks, inner)
    x = whole_map(net, write.activated(x, "conv_6_sep", LAST, 1), "conv_6_dw.conv")
    x = net.linear(net.flatten(net.batch_norm(x, "conv_6_dw.bn")), "linear", net.dimension, bias=False)
    return {"embedding": net.batch_norm(x, "bn")}


def relu6(net: Layers, crops: Features) -> Mapping[str, Features]:
    """github.com/foamliu/MobileFaceNet, with MobileNetV2's activation."""
    x = _conv_relu6(net, crops, "conv1", 64, 3, stride=2)
    x = net.relu(net.batch_norm(net.conv(x, "dw_conv.depthwise", 64, 3, groups=64), "dw_conv.bn1"))
    x = net.relu(net.batch_norm(net.conv(x, "dw_conv.pointwise", 64, 1), "dw_conv.bn2"))
    number = 0
    for wider, channels, blocks, stride in SETTINGS:
        for i in range(blocks):
            x = _inverted_residual(net, x, f"features.{number}.conv", channels, wider, stride if i == 0 else 1)
            number += 1
    x = whole_map(net, _conv_relu6(net, x, "conv2", LAST, 1), "gdconv.depthwise")
    x = net.conv(net.batch_norm(x, "gdconv.bn"), "conv3", net.dimension, 1, bias=True)
    return {"embedding": net.flatten(net.batch_norm(x, "bn"))}


def _inverted_residual(net: Layers, x: Features, name: str, channels: int, wider: int, stride: int) -> Features:
    inner = wider * x.channels
    y = _conv_relu6(net, x, f"{name}.0", inner, 1)
    y = _conv_relu6(net, y, f"{name}.1", inner, 3, stride=stride, groups=inner)
    y = net.batch_norm(net.conv(y, f"{name}.2", channels, 1), f"{name}.3")
    return net.add(x, y) if y.shape == x.shape else y


def _conv_relu6(
    net: Layers, x: Features, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Features:
    x = net.conv(x, f"{name}.0", channels, kernel, stride=stride, groups=groups)
    return net.relu6(net.batch_norm(x, f"{name}.1"))
