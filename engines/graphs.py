"""Building, pruning, describing and fingerprinting ONNX graphs: what every family's importer stands on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from engines.base import ModelError
from engines.families import Size

OPSET = 17
"""The last operator set that TensorRT 8.6 parses."""
IR_VERSION = 8


class GraphBuilder:
    """Writes nodes and constants of one stretch of a graph, all named `scope/…`. Not thread-safe."""

    def __init__(self, scope: str) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.scope = scope

    def op(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Adds a node of one output and returns that output's name, `scope/name`."""
        return self.ops(op_type, *inputs, names=(name,), **attributes)[0]

    def ops(self, op_type: str, *inputs: str, names: Sequence[str], **attributes: Any) -> list[str]:
        """Adds a node of `len(names)` outputs and returns their names, each `scope/name`."""
        return self.add(op_type, inputs, [f"{self.scope}/{name}" for name in names], **attributes)

    def add(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> list[str]:
        """Adds a node whose outputs are named as they stand, as the whole graph's outputs are; returns them."""
        label = f"{self.scope}/{outputs[0].removeprefix(f'{self.scope}/')}"
        self.nodes.append(helper.make_node(op_type, list(inputs), list(outputs), name=label, **attributes))
        return list(outputs)

    def constant(self, values: object, dtype: type[np.generic], *, name: str) -> str:
        """Adds an initializer and returns its name, `scope/name`."""
        label = f"{self.scope}/{name}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), label))
        return label


def assemble(
    nodes: Iterable[NodeProto],
    initializers: Iterable[TensorProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
) -> ModelProto:
    """A checked model of these parts at OPSET and IR_VERSION, without what no output needs.

    `nodes` stand in order of execution. Raises ModelError when the parts make no valid graph, or when the outputs'
    declared types and shapes contradict what the nodes give.
    """
    graph = helper.make_graph(list(nodes), "faceserve", list(inputs), list(outputs), list(initializers))
    prune(graph)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="faceserve"
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the rewritten graph is not valid ONNX: {error}") from error
    return model


def prune(graph: GraphProto) -> None:
    """Drops, in place, the nodes and initializers that no output of the graph needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(initializers)


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """The graph's initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def consumers(graph: GraphProto, name: str) -> list[NodeProto]:
    """The nodes that read the tensor `name`."""
    return [node for node in graph.node if name in node.input]


def producer(graph: GraphProto, name: str) -> NodeProto | None:
    """The node that writes the tensor `name`, or None for an input or a constant."""
    return next((node for node in graph.node if name in node.output), None)


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """The nodes by the names of the tensors they write."""
    return {name: node for node in graph.node for name in node.output}


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """A node's attribute as a Python value (strings as bytes), or `default` where it is not set."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def array(tensor: TensorProto) -> NDArray[Any]:
    """The values of a tensor; ModelError when its data do not fill its shape."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ModelError(f"tensor {tensor.name!r} is damaged: {error}") from error


def shape_of(value: ValueInfoProto) -> tuple[int | None, ...]:
    """The declared shape of an input or output; None for a free axis."""
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim)


def describe(model: ModelProto, facts: Mapping[str, str]) -> None:
    """Replaces, in place, the model's own description (`metadata_props`)."""
    del model.metadata_props[:]
    helper.set_model_props(model, dict(facts))


def description(model: ModelProto) -> dict[str, str]:
    """The model's own description (`metadata_props`)."""
    return {entry.key: entry.value for entry in model.metadata_props}


def load(path: Path) -> ModelProto:
    """The canonical network in `path`; ModelError when it cannot be read. For upstream files see families.upstream."""
    try:
        return onnx.load_model(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ModelError(f"cannot read {path} as ONNX: {error}") from error


def digest(models: Mapping[Size, ModelProto], crop: str = "") -> str:
    """The fingerprint of one network in all its sizes: SHA-256 in hex, the same whatever the files say of themselves.

    `crop` tells how faces are cut out for it, where that is not by the template: other crops, other embeddings. Beside
    it, covers each size's graph, operator sets and IR version; not `metadata_props`, so that a new threshold table or a
    corrected licence does not make another network of it.
    """
    combined = hashlib.sha256()
    for (height, width), model in sorted(models.items(), reverse=True):
        bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=model.graph)
        graph_sha256 = hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
        combined.update(f"{height}x{width} {graph_sha256}\n".encode())
    combined.update(crop.encode())
    return combined.hexdigest()
