"""State dicts read off exports, whose BatchNormalizations were folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from engines import graphs

Array = NDArray[Any]
EPSILON = 1e-5


def unfolded(model: ModelProto, following: Callable[[str], str]) -> dict[str, Array]:
    """Each BatchNormalization becomes the bias and nothing else; `following` names the one after a convolution, or an
    empty string, which leaves the bias to the convolution."""
    state: dict[str, Array] = {}
    weights = {name: graphs.array(tensor) for name, tensor in graphs.constants(model.graph).items()}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        module, kernel, bias = module_of(node.name), weights[node.input[1]], weights[node.input[2]]
        state[f"{module}.weight"] = kernel
        norm, one = following(module), np.ones_like(bias)
        if not norm:
            state[f"{module}.bias"] = bias
            continue
        state |= {f"{norm}.weight": one, f"{norm}.bias": bias, f"{norm}.running_mean": 0 * one}
        state[f"{norm}.running_var"] = one - np.float32(EPSILON)
    return state


def module_of(node: str) -> str:
    """`body/fpn/output1/output1.0/Conv`, as an exporter names a node, is the module `fpn.output1.0`."""
    parts = node.split("/")[1:-1]
    return ".".join(a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(f"{a}."))
