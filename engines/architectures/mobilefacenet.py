"""MobileFaceNet (Chen et al. 2018), as InsightFace's arcface_torch has it (`get_mbf`, `get_mbf_large`), and others.

Output: `embedding` (N, dimension), not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers
from engines.architectures.mobile_blocks import Blocks, whole_map

LAST = 512
"""Channels of the last features."""
NAMES = ("layers.0", "layers.1", "layers.2")
"""Of the modules in a block, and of the blocks in a bottleneck."""
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
    write = Blocks(net, *NAMES, *NAMES)
    x = write.activated(crops, "layers.0", 64 * width, 3, stride=2)
    if blocks[0] == 1:
        x = write.activated(x, "layers.1", 64 * width, 3, groups=64)
    else:
        x = write.residuals(x, "layers.1.layers", blocks[0], inner=128)
    for stage, (channels, halving, inner) in enumerate(STAGES, start=1):
        x = write.bottleneck(x, f"layers.{2 * stage}", channels * width, halving, stride=2)
        x = write.residuals(x, f"layers.{2 * stage + 1}.layers", blocks[stage], inner)
    x = whole_map(net, write.activated(x, "conv_sep", LAST, 1), "features.layers.0.layers.0")
    x = net.flatten(net.batch_norm(x, "features.layers.0.layers.1"))
    x = net.linear(x, "features.layers.2", net.dimension, bias=False)
    return {"embedding": net.batch_norm(x, "features.layers.3")}
