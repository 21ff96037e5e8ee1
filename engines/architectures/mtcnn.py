"""MTCNN (Zhang et al. 2016) as github.com/timesler/facenet-pytorch has it: P-Net, R-Net and O-Net.

Outputs: `offsets` and `probabilities` of no face and of a face, (N, 4, h, w) and (N, 2, h, w) of P-Net's cells and
(N, 4) and (N, 2) of a crop; O-Net's `points` (N, 10) are five x, then five y.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.architectures.layers import Features, Layers


def pnet(net: Layers, images: Features) -> Mapping[str, Features]:
    x = net.max_pool(_conv(net, images, 1, 10, 3), 2, stride=2, ceil=True)
    x = _conv(net, _conv(net, x, 2, 16, 3), 3, 32, 3)
    classes, offsets = (net.conv(x, f"conv4_{i}", n, 1, padding=0, bias=True) for i, n in ((1, 2), (2, 4)))
    return {"offsets": offsets, "probabilities": net.softmax(classes, axis=1)}


def rnet(net: Layers, images: Features) -> Mapping[str, Features]:
    x = net.max_pool(_conv(net, images, 1, 28, 3), 3, stride=2, ceil=True)
    x = net.max_pool(_conv(net, x, 2, 48, 3), 3, stride=2, ceil=True)
    x = _dense(net, _conv(net, x, 3, 64, 2), 4, 128)
    return {"offsets": net.linear(x, "dense5_2", 4), "probabilities": net.softmax(net.linear(x, "dense5_1", 2))}


def onet(net: Layers, images: Features) -> Mapping[str, Features]:
    x = net.max_pool(_conv(net, images, 1, 32, 3), 3, stride=2, ceil=True)
    x = net.max_pool(_conv(net, x, 2, 64, 3), 3, stride=2, ceil=True)
    x = net.max_pool(_conv(net, x, 3, 64, 3), 2, stride=2, ceil=True)
    x = _dense(net, _conv(net, x, 4, 128, 2), 5, 256)
    probabilities = net.softmax(net.linear(x, "dense6_1", 2))
    return {
        "offsets": net.linear(x, "dense6_2", 4),
        "points": net.linear(x, "dense6_3", 10),
        "probabilities": probabilities,
    }


def _conv(net: Layers, x: Features, layer: int, channels: int, kernel: int) -> Features:
    return net.prelu(net.conv(x, f"conv{layer}", channels, kernel, padding=0, bias=True), f"prelu{layer}")


def _dense(net: Layers, x: Features, layer: int, values: int) -> Features:
    """The first weights were trained by Matlab, which counts columns first."""
    flat = net.flatten(net.columns_first(x))
    return net.prelu(net.linear(flat, f"dense{layer}", values), f"prelu{layer}")
