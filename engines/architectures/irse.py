"""IResNet in other repositories' layout, with squeeze-and-excitation (Hu et al. 2018) or without, and AdaFace's.

The first two are those of github.com/TreB1eN/InsightFace_Pytorch, AdaFace's (Kim et al. 2022) has one more
normalisation in each unit. Output: `embedding` (N, dimension), not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers

CHANNELS = (64, 128, 256, 512)
REDUCTION = 16
"""How many times fewer channels squeeze-and-excitation has inside."""
Blocks = tuple[int, int, int, int]


def ir50(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _ir(net, crops, (3, 4, 14, 3))


def ir_se50(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _ir(net, crops, (3, 4, 14, 3), excited=True)


def adaface_r18(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _ir(net, crops, (2, 2, 2, 2), adaface=True)


def adaface_r50(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _ir(net, crops, (3, 4, 14, 3), adaface=True)


def adaface_r100(net: Layers, crops: Features) -> Mapping[str, Features]:
    return _ir(net, crops, (3, 13, 30, 3), adaface=True)


def _ir(
    net: Layers, crops: Features, blocks: Blocks, *, excited: bool = False, adaface: bool = False
) -> Mapping[str, Features]:
    """Units are numbered through; the first of each stage halves the sides."""
    x = net.conv(crops, "input_layer.0", CHANNELS[0], 3)
    x = net.prelu(net.batch_norm(x, "input_layer.1"), "input_layer.2")
    units = [(channels, i == 0) for channels, count in zip(CHANNELS, blocks, strict=True) for i in range(count)]
    for number, (channels, first) in enumerate(units):
        name, stride = f"body.{number}", 2 if first else 1
        y = _branch(net, x, f"{name}.res_layer", channels, stride, adaface=adaface)
        if excited:
            y = _excite(net, y, f"{name}.res_layer.5")
        x = net.add(y, _shortcut(net, x, f"{name}.shortcut_layer", channels, stride))
    x = net.linear(net.flatten(net.batch_norm(x, "output_layer.0")), "output_layer.3", net.dimension)
    return {"embedding": net.batch_norm(x, "output_layer.4", affine=not adaface)}


def _branch(net: Layers, x: Features, name: str, channels: int, stride: int, *, adaface: bool) -> Features:
    """Modules are numbered; AdaFace normalises after the first convolution too."""
    x = net.conv(net.batch_norm(x, f"{name}.0"), f"{name}.1", channels, 3)
    at = 2
    if adaface:
        x, at = net.batch_norm(x, f"{name}.2"), 3
    x = net.conv(net.prelu(x, f"{name}.{at}"), f"{name}.{at + 1}", channels, 3, stride=stride)
    return net.batch_norm(x, f"{name}.{at + 2}")


def _shortcut(net: Layers, x: Features, name: str, channels: int, stride: int) -> Features:
    """Where only the sides change, every other pixel."""
    if x.channels != channels:
        return net.batch_norm(net.conv(x, f"{name}.0", channels, 1, stride=stride), f"{name}.1")
    return net.max_pool(x, 1, stride=stride) if stride > 1 else x


def _excite(net: Layers, x: Features, name: str) -> Features:
    """Each channel by how much it matters in this image."""
    y = net.relu(net.conv(net.average(x), f"{name}.fc1", x.channels // REDUCTION, 1))
    return net.multiply(x, net.sigmoid(net.conv(y, f"{name}.fc2", x.channels, 1)))
