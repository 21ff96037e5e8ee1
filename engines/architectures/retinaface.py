"""RetinaFace (Deng et al. 2020) as github.com/biubug6/Pytorch_Retinaface has it, on MobileNet 0.25 and ResNet-50.

Outputs for the A priors: `loc` (N, A, 4), `conf` (N, A, 2) after the softmax, `landms` (N, A, 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.architectures.backbones import mobilenet_025, resnet50
from engines.architectures.layers import Features, Layers

PRIORS_A_CELL = 2
HEADS = {"loc": ("BboxHead", 4), "conf": ("ClassHead", 2), "landms": ("LandmarkHead", 10)}
"""Module and values a prior, by output."""


def mnet025(net: Layers, images: Features) -> Mapping[str, Features]:
    return _retinaface(net, mobilenet_025(net, images), channels=64, slope=0.1)


def r50(net: Layers, images: Features) -> Mapping[str, Features]:
    return _retinaface(net, resnet50(net, images), channels=256, slope=0)


def _retinaface(net: Layers, stages: Sequence[Features], channels: int, slope: float) -> Mapping[str, Features]:
    """The pyramid, the context and the heads on a backbone's features at strides 8, 16 and 32."""
    pyramid = _fpn(net, stages, channels, slope)
    context = [_ssh(net, level, f"ssh{i}", channels, slope) for i, level in enumerate(pyramid, start=1)]
    found = {output: _head(net, context, module, values) for output, (module, values) in HEADS.items()}
    return found | {"conf": net.softmax(found["conf"])}


def _fpn(net: Layers, stages: Sequence[Features], channels: int, slope: float) -> list[Features]:
    """The feature pyramid (Lin et al. 2017): each level with what the coarser one saw."""
    fine, middle, coarse = (
        net.leaky_relu(_conv_bn(net, stage, f"fpn.output{i}", channels, kernel=1), slope)
        for i, stage in enumerate(stages, start=1)
    )
    middle = net.add(middle, net.double(coarse))
    middle = net.leaky_relu(_conv_bn(net, middle, "fpn.merge2", channels), slope)
    fine = net.add(fine, net.double(middle))
    fine = net.leaky_relu(_conv_bn(net, fine, "fpn.merge1", channels), slope)
    return [fine, middle, coarse]


def _ssh(net: Layers, x: Features, name: str, channels: int, slope: float) -> Features:
    """The context module (Najibi et al. 2017): one, two and three 3x3 convolutions side by side."""
    half, quarter = channels // 2, channels // 4
    three = _conv_bn(net, x, f"{name}.conv3X3", half)
    shared = net.leaky_relu(_conv_bn(net, x, f"{name}.conv5X5_1", quarter), slope)
    five = _conv_bn(net, shared, f"{name}.conv5X5_2", quarter)
    seven = net.leaky_relu(_conv_bn(net, shared, f"{name}.conv7X7_2", quarter), slope)
    seven = _conv_bn(net, seven, f"{name}.conv7x7_3", quarter)
    return net.relu(net.concat([three, five, seven]))


def _head(net: Layers, levels: Sequence[Features], module: str, values: int) -> Features:
    """Values for every prior, by level, row, column and prior: (A, values)."""
    parts = []
    for i, level in enumerate(levels):
        cells = net.conv(level, f"{module}.{i}.conv1x1", PRIORS_A_CELL * values, 1, bias=True)
        parts.append(net.cells(cells, values))
    return net.concat(parts)


def _conv_bn(net: Layers, x: Features, name: str, channels: int, kernel: int = 3) -> Features:
    return net.batch_norm(net.conv(x, f"{name}.0", channels, kernel), f"{name}.1")
