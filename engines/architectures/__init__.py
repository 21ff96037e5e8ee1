"""Architectures written as upstream ONNX graphs from weights alone: one row a network, one file an architecture.

The graphs are what PyTorch's exporter makes of the public code, with every BatchNormalization a node of its own, and
`models.import_model` takes them as it takes a public file. Weights go by the names of PyTorch's parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engines.architectures.weights import Weights, given_weights, random_weights
from engines.base import ModelError, RuntimeMissingError
from engines.families import Size, family_called

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["ARCHITECTURES", "Architecture", "Weights", "build", "given_weights", "random_weights"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of the table. `function` of the file `module` adds the layers; it is imported when a network is built.

    `family` is what to import the graph as, `size` its usual (height, width) in pixels. `reach` is about how far from
    zero its float32 input goes, as the family's preprocessing leaves it.
    """

    family: str
    size: Size
    reach: float
    module: str
    function: str


ARCHITECTURES = {
    "retinaface_mnet025": Architecture("retinaface", (640, 640), 128, "engines.architectures.retinaface", "mnet025"),
    "retinaface_r50": Architecture("retinaface", (640, 640), 128, "engines.architectures.retinaface", "r50"),
    "arcface_r50": Architecture("arcface", (112, 112), 1, "engines.architectures.iresnet", "r50"),
    "arcface_r100": Architecture("arcface", (112, 112), 1, "engines.architectures.iresnet", "r100"),
    "mobilefacenet_512": Architecture("arcface", (112, 112), 1, "engines.architectures.mobilefacenet", "mobilefacenet"),
    "facenet": Architecture("facenet", (160, 160), 1, "engines.architectures.inception", "inception_resnet_v1"),
}


def build(name: str, size: Size | None = None, weights: Weights | None = None) -> ModelProto:
    """The network `name` for images of `size` (its usual one unless given): float32 (N, 3, H, W) in, N free.

    Random weights with the seed 0 unless some are given, so the same bytes each time. Raises ModelError for a name
    that no row has, a size that the family does not take, and weights that are missing or of another shape;
    RuntimeMissingError where `onnx` is not installed.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"no architecture {name!r}: known are {', '.join(sorted(ARCHITECTURES))}")
    if find_spec("onnx") is None:
        raise RuntimeMissingError("building a network needs the extra `convert`: pip install 'faceserve[convert]'")
    from engines.architectures.layers import Layers

    row = ARCHITECTURES[name]
    size = size or row.size
    family_called(row.family).converter().require_size(size)
    net = Layers(weights or random_weights(0, row.reach))
    add_layers = getattr(import_module(row.module), row.function)
    return net.model(size, add_layers)
