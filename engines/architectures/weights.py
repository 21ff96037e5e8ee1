"""Where an architecture's weights come from: a state dict, or chance."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelError

Weights = Callable[[str, tuple[int, ...]], NDArray[np.float32]]
"""Gives the parameter or buffer of that name, as PyTorch calls it (`body.stage1.0.0.weight`), in that shape."""

RESIDUAL_ENDS = (
    "bn3.weight",
    "layers.2.layers.1.weight",
    "project.bn.weight",
    "conv.3.weight",
    "res_layer.4.weight",
    "res_layer.5.weight",
)
"""The last scale of a residual branch in ResNet and the IResNets, and in the MobileFaceNets."""
SLOPES = ("prelu.weight", "layers.2.weight")
"""PReLU's slopes in IResNet and in the MobileFaceNets."""


def given_weights(state: Mapping[str, NDArray[Any]]) -> Weights:
    """The weights of a state dict; ModelError for one that is missing or of another shape. More than needed is fine."""

    def weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name not in state:
            raise ModelError(f"the weights have no {name!r} {shape}: they are another architecture's")
        if state[name].shape != shape:
            raise ModelError(f"{name!r} has the shape {state[name].shape}, the architecture expects {shape}")
        return np.asarray(state[name], np.float32)

    return weights


def random_weights(seed: int, reach: float = 1) -> Weights:
    """Weights that keep activations near one through all layers, for images within about ±`reach`.

    Kernels after He et al. 2015, each BatchNormalization a little off the identity. The last scale of a residual branch
    is small: were it one, a sum of thirty blocks would leave float16. A parameter depends on seed, name and shape only.
    """

    def weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if len(shape) > 1:
            kernel = random.standard_normal(shape, np.float32)
            kernel *= sqrt(2 / prod(shape[1:])) / (reach if shape[1] == 3 else 1)
            return kernel
        if name.endswith((".bias", ".running_mean")):
            return random.normal(0, 0.1, shape).astype(np.float32)
        low, high = (0.2, 0.3) if name.endswith(RESIDUAL_ENDS) else (0.1, 0.4) if name.endswith(SLOPES) else (0.8, 1.2)
        return random.uniform(low, high, shape).astype(np.float32)

    return weights
