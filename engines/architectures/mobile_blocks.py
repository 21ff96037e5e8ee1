"""The blocks of MobileFaceNet (Chen et al. 2018), whatever a repository calls the modules in them."""

from __future__ import annotations

from dataclasses import dataclass

from engines.architectures.layers import Features, Layers


@dataclass(frozen=True, slots=True)
class Blocks:
    """Writes blocks whose modules have these names: the first three are a convolution's, the others a bottleneck's."""

    net: Layers
    conv: str
    norm: str
    prelu: str
    widen: str
    depthwise: str
    narrow: str

    def activated(
        self, x: Features, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> Features:
        """A convolution, normalised and activated."""
        x = self.net.conv(x, f"{name}.{self.conv}", channels, kernel, stride=stride, groups=groups)
        return self.net.prelu(self.net.batch_norm(x, f"{name}.{self.norm}"), f"{name}.{self.prelu}")

    def bottleneck(self, x: Features, name: str, channels: int, inner: int, stride: int = 1) -> Features:
        """Widens, convolves each channel by itself, narrows without an activation (Sandler et al. 2018)."""
        x = self.activated(x, f"{name}.{self.widen}", inner, 1)
        x = self.activated(x, f"{name}.{self.depthwise}", inner, 3, stride=stride, groups=inner)
        x = self.net.conv(x, f"{name}.{self.narrow}.{self.conv}", channels, 1)
        return self.net.batch_norm(x, f"{name}.{self.narrow}.{self.norm}")

    def residuals(self, x: Features, name: str, count: int, inner: int) -> Features:
        """So many numbered bottlenecks, each added to what it was given."""
        for i in range(count):
            x = self.net.add(x, self.bottleneck(x, f"{name}.{i}", x.channels, inner))
        return x


def whole_map(net: Layers, x: Features, name: str) -> Features:
    """Each channel's sum over its map, every place with a weight of its own: (channels, 1, 1)."""
    return net.conv(x, name, x.channels, (x.shape[1], x.shape[2]), padding=0, groups=x.channels)
