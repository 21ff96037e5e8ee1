"""A network's body as a recipe: its steps in JSON and its weights for NumPy, for a Python that has no `onnx`.

The body is what lies between the input's scaling and the head: the upstream network, as PyTorch users run it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from engines import graphs
from engines.base import ModelError
from engines.fingerprint import graph_sha256
from engines.onnxruntime import OnnxRuntimeEngine

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

STEPS, WEIGHTS, REFERENCE = "steps.json", "weights.npz", "reference.npz"
FLOAT32 = 1
ROWS = 2


def ensure_recipe(canonical: Path, recipes: Path) -> Path:
    """The folder in `recipes` with the recipe of the network in `canonical`, written unless it is there.

    Beside it lies what ONNX Runtime (float32, CPU) made of two random images, to compare with. Raises ModelError for a
    network whose body does not take one tensor.
    """
    folder = recipes / graph_sha256(canonical)[:16]
    if (folder / STEPS).is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = body_of(graphs.load(canonical))
    weights: dict[str, Any] = {name: graphs.array(tensor) for name, tensor in graphs.constants(model.graph).items()}
    np.savez(folder / WEIGHTS, **weights)
    _write_reference(model, folder)
    steps = {
        "input": model.graph.input[0].name,
        "shape": list(graphs.shape_of(model.graph.input[0])[1:]),
        "outputs": [output.name for output in model.graph.output],
        "nodes": [_step(node) for node in model.graph.node],
    }
    (folder / STEPS).write_bytes(orjson.dumps(steps))
    return folder


def body_of(canonical: ModelProto) -> ModelProto:
    """The canonical network without its own input nodes and head: float32 (N, 3, H, W) in, the raw outputs out."""
    model = type(canonical)()
    model.CopyFrom(canonical)
    graph = model.graph
    outside = {name for node in graph.node if _is_added(node) for name in (*node.input, *node.output)}
    outside |= {output.name for output in graph.output}
    body = [node for node in graph.node if not _is_added(node)]
    made = [name for node in body for name in node.output]
    weights = graphs.constants(graph)
    sources = {name for node in body for name in node.input if name and name not in made and name not in weights}
    if len(sources) != 1:
        raise ModelError(f"the network's body takes {sorted(sources)}, one tensor was expected")
    height, width = graphs.shape_of(graph.input[0])[1:3]
    del graph.node[:], graph.output[:], graph.value_info[:], model.metadata_props[:]
    graph.node.extend(body)
    images = graph.input[0]
    images.name, images.type.tensor_type.elem_type = sources.pop(), FLOAT32
    for axis, size in zip(images.type.tensor_type.shape.dim[1:], (3, height, width), strict=True):
        axis.dim_value = size or 0
    for name in made:
        if name in outside:
            output = graph.output.add()
            output.name, output.type.tensor_type.elem_type = name, FLOAT32
    graphs.prune(graph)
    return model


def _is_added(node: NodeProto) -> bool:
    return node.name.startswith(("input/", "head/"))


def _step(node: NodeProto) -> dict[str, Any]:
    attributes = {entry.name: graphs.attribute(node, entry.name) for entry in node.attribute}
    return {
        "operation": node.op_type,
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": {name: _plain(value) for name, value in attributes.items()},
    }


def _plain(value: Any) -> Any:
    """An attribute as JSON has it; a tensor among them is refused by the reader, which knows no node that has one."""
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, (int, float, str)) else [item for item in value if isinstance(item, (int, float))]


def _write_reference(model: ModelProto, folder: Path) -> None:
    file = folder / "body.onnx"
    file.write_bytes(model.SerializeToString())
    engine = OnnxRuntimeEngine(file, max_batch_size=ROWS)
    try:
        shape = [size or 0 for size in engine.inputs[0].shape[1:]]
        images = np.random.default_rng(0).normal(0, 64, (ROWS, *shape)).astype(np.float32)
        outputs: dict[str, Any] = engine.run({engine.inputs[0].name: images})
        np.savez(folder / REFERENCE, images=images, **outputs)
    finally:
        engine.close()
    file.unlink()
