"""A network of PyTorch operations, made from a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from operations import OPERATIONS, LeftOutError, Node  # type: ignore[import-not-found]  # beside this file


class Network:
    """The network of the recipe in `folder`, weights on the device; calling it gives the recipe's outputs in order."""

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        """Raises LeftOutError for a network with an operation that is not understood."""
        recipe = json.loads((folder / "steps.json").read_text())
        with np.load(folder / "weights.npz") as stored:
            arrays = {name: stored[name] for name in stored.files}
        self.shape: list[int] = recipe["shape"]
        self.outputs: list[str] = recipe["outputs"]
        self._input: str = recipe["input"]
        self._weights = {
            name: torch.from_numpy(array).to(device, dtype) for name, array in arrays.items() if array.dtype.kind == "f"
        }
        nodes = [Node(**step, known=arrays) for step in recipe["nodes"]]
        last_use = {name: place for place, node in enumerate(nodes) for name in node.tensors}
        kept = {*self._weights, *self.outputs}
        self._steps = []
        for place, node in enumerate(nodes):
            if node.operation not in OPERATIONS:
                raise LeftOutError(f"the PyTorch runner does not know the operation {node.operation}")
            spent = [name for name in set(node.tensors) - kept if last_use[name] == place]
            self._steps.append((OPERATIONS[node.operation](node), node.tensors, node.outputs[0], spent))

    def __call__(self, images: Any) -> list[Any]:
        values = self._weights | {self._input: images}
        for function, inputs, output, spent in self._steps:
            values[output] = function(*[values[name] for name in inputs])
            for name in spent:  # as Python frees what a module's `forward` no longer names
                del values[name]
        return [values[name] for name in self.outputs]
