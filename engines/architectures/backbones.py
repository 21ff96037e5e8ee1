"""RetinaFace's backbones: MobileNet (Howard et al. 2017) with a quarter of its channels, ResNet-50 (He et al. 2016).

Each gives its features at strides 8, 16 and 32.
"""

from __future__ import annotations

from engines.architectures.layers import Features, Layers

MOBILENET = {
    # stage: (channels, stride) of each pair of a depthwise and a pointwise convolution
    "stage1": ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
    "stage2": ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
    "stage3": ((256, 2), (256, 1)),
}
RESNET50 = {
    # layer: (channels of the bottleneck, blocks, stride of the first)
    "layer1": (64, 3, 1),
    "layer2": (128, 4, 2),
    "layer3": (256, 6, 2),
    "layer4": (512, 3, 2),
}
EXPANSION = 4
"""How many times as many channels leave a bottleneck as it has."""


def mobilenet_025(net: Layers, images: Features) -> list[Features]:
    """64, 128 and 256 channels. The first convolution is module 0 of stage 1."""
    x = net.conv(images, "body.stage1.0.0", 8, 3, stride=2)
    x = net.leaky_relu(net.batch_norm(x, "body.stage1.0.1"), 0.1)
    stages = []
    for stage, pairs in MOBILENET.items():
        for i, (channels, stride) in enumerate(pairs, start=1 if stage == "stage1" else 0):
            x = _depthwise_pair(net, x, f"body.{stage}.{i}", channels, stride)
        stages.append(x)
    return stages


def _depthwise_pair(net: Layers, x: Features, name: str, channels: int, stride: int) -> Features:
    x = net.conv(x, f"{name}.0", x.channels, 3, stride=stride, groups=x.channels)
    x = net.leaky_relu(net.batch_norm(x, f"{name}.1"), 0.1)
    x = net.conv(x, f"{name}.3", channels, 1)
    return net.leaky_relu(net.batch_norm(x, f"{name}.4"), 0.1)


def resnet50(net: Layers, images: Features) -> list[Features]:
    """512, 1,024 and 2,048 channels."""
    x = net.conv(images, "body.conv1", 64, 7, stride=2)
    x = net.relu(net.batch_norm(x, "body.bn1"))
    x = net.max_pool(x, 3, stride=2, padding=1)
    layers = []
    for layer, (channels, blocks, stride) in RESNET50.items():
        for i in range(blocks):
            x = _bottleneck(net, x, f"body.{layer}.{i}", channels, stride if i == 0 else 1)
        layers.append(x)
    return layers[1:]


def _bottleneck(net: Layers, x: Features, name: str, channels: int, stride: int) -> Features:
    """torchvision's: the stride is in the 3x3 convolution."""
    y = net.relu(net.batch_norm(net.conv(x, f"{name}.conv1", channels, 1), f"{name}.bn1"))
    y = net.relu(net.batch_norm(net.conv(y, f"{name}.conv2", channels, 3, stride=stride), f"{name}.bn2"))
    y = net.batch_norm(net.conv(y, f"{name}.conv3", EXPANSION * channels, 1), f"{name}.bn3")
    if y.shape != x.shape:
        x = net.conv(x, f"{name}.downsample.0", y.channels, 1, stride=stride)
        x = net.batch_norm(x, f"{name}.downsample.1")
    return net.relu(net.add(y, x))
