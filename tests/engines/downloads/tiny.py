"""Files as small as a model can be."""

from __future__ import annotations

import hashlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from engines.catalogue import Download, UpstreamFile


def network(seed: int) -> bytes:
    """A tiny embedder of 16 numbers."""
    weights = np.random.default_rng(seed).normal(size=(16, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["map"]),
            helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["vector"]),
        ],
        "upstream",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(model.SerializeToString())


def upstream(name: str, content: bytes, *places: Download) -> UpstreamFile:
    return UpstreamFile(name, hashlib.sha256(content).hexdigest(), len(content), places)
