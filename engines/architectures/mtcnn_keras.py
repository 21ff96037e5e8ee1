"""MTCNN's networks as Keras keeps them: kernels with their channels last, and what is flattened with them first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

NAME = re.compile(r"(conv|prelu)(\d)(?:-(\d))?/[^/]+/(kernel|bias|alpha):0", re.IGNORECASE)
FLAT = (3, 3)
"""(width, height) of what R-Net and O-Net flatten, channels before them: Permute (3, 2, 1) in Keras."""


def keras(arrays: Arrays) -> Arrays | None:
    """The layers of a weight file, `conv1/conv1/kernel:0`, `PReLU1/PReLU1/alpha:0`; a product is called conv, too."""
    found = {name: NAME.fullmatch(name) for name in arrays}
    if not arrays or not all(found.values()):
        return None
    products = {match[2] for name, match in found.items() if match and arrays[name].ndim == 2}
    ours = {}
    for name, values in arrays.items():
        match = found[name]
        assert match is not None
        kind, layer, head, what = match.groups()
        module = f"prelu{layer}" if kind.lower() == "prelu" else f"{'dense' if layer in products else 'conv'}{layer}"
        module += f"_{head}" if head else ""
        ours[f"{module}.{'bias' if what == 'bias' else 'weight'}"] = _arranged(values, head)
    return ours


def _arranged(values: NDArray[Any], head: str | None) -> NDArray[Any]:
    if values.ndim == 4:
        return np.ascontiguousarray(values.transpose(3, 2, 0, 1))
    if values.ndim != 2:
        return values.ravel()
    rows = values.T
    if head or values.shape[0] % (FLAT[0] * FLAT[1]):
        return np.ascontiguousarray(rows)
    by_place = rows.reshape(len(rows), values.shape[0] // (FLAT[0] * FLAT[1]), *FLAT).transpose(0, 2, 3, 1)
    flat: NDArray[Any] = np.ascontiguousarray(by_place).reshape(rows.shape)
    return flat
