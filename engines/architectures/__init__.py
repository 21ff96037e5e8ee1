"""Architectures written as upstream ONNX graphs from weights alone: one row a network, one file an architecture.

The graphs are what PyTorch's exporter makes of the public code, with every BatchNormalization a node of its own, and
`models.import_model` takes them as it takes a public file. Weights go by the names of PyTorch's parameters; `pour`
takes those of a file, and tells the architecture by their names and shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.architectures.pouring import pour
from engines.architectures.table import ARCHITECTURES, Architecture
from engines.architectures.weights import Weights, given_weights, random_weights
from engines.base import ModelError
from engines.families import Size, family_called
from engines.models import require_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["ARCHITECTURES", "Architecture", "Weights", "build", "given_weights", "pour", "random_weights"]


def build(
    name: str, size: Size | None = None, weights: Weights | None = None, *, dimension: int | None = None
) -> ModelProto:
    """The network `name` for images of `size` (its usual one unless given): float32 (N, 3, H, W) in, N free.

    Random weights with the seed 0 unless some are given, so the same bytes each time. `dimension` is how long an
    embedding is, where it is not the row's. Raises ModelError for a name that no row has, a size that the family does
    not take, and weights that are missing or of another shape; RuntimeMissingError where `onnx` is not installed.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"no architecture {name!r}: known are {', '.join(sorted(ARCHITECTURES))}")
    require_onnx()
    from engines.architectures.layers import Layers

    row = ARCHITECTURES[name]
    size = size or row.size
    family_called(row.family).converter().require_size(size)
    return Layers(weights or random_weights(0, row.reach), dimension or row.dimension).model(size, row.add_layers)
