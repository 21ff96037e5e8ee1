"""IResNet (Duta et al. 2020), the backbone of ArcFace (Deng et al. 2019), as InsightFace's arcface_torch has it.

Output: `embedding` (N, dimension), not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers

CHANNELS = (64, 128, 256, 512)


def r18(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _iresnet(net, crops, (2, 2, 2, 2))


def r34(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _iresnet(net, crops, (3, 4, 6, 3))


def r50(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _iresnet(net, crops, (3, 4, 14, 3))


def r100(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _iresnet(net, crops, (3, 13, 30, 3))


def r200(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _iresnet(net, crops, (6, 26, 60, 6))


def _iresnet(net: Layers, crops: Features, blocks: tuple[int, int, int, int]) -> Mapping[str, Features]:
    """`blocks` of each of the four layers. Dropout before `fc` is nothing when a network is used."""
    x = net.conv(crops, "conv1", CHANNELS[0], 3)
    x = net.prelu(net.batch_norm(x, "bn1"), "prelu")
    for layer, (channels, count) in enumerate(zip(CHANNELS, blocks, strict=True), start=1):
        for i in range(count):
            x = _block(net, x, f"layer{layer}.{i}", channels, stride=2 if i == 0 else 1)
    x = net.flatten(net.batch_norm(x, "bn2"))
    return {"embedding": net.batch_norm(net.linear(x, "fc", net.dimension), "features")}


def _block(net: Layers, x: Features, name: str, channels: int, stride: int) -> Features:
    """The improved residual unit: nothing but the sum on the way through; the stride is in the second convolution."""
    y = net.conv(net.batch_norm(x, f"{name}.bn1"), f"{name}.conv1", channels, 3)
    y = net.prelu(net.batch_norm(y, f"{name}.bn2"), f"{name}.prelu")
    y = net.batch_norm(net.conv(y, f"{name}.conv2", channels, 3, stride=stride), f"{name}.bn3")
    if y.shape != x.shape:
        x = net.conv(x, f"{name}.downsample.0", channels, 1, stride=stride)
        x = net.batch_norm(x, f"{name}.downsample.1")
    return net.add(y, x)
