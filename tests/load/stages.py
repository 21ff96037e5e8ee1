"""Cuts a canonical network into what it is made of: its input nodes, the bare upstream network, its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

Stage = Literal["input", "body", "head"]
Outputs = dict[str, NDArray[Any]]
CLASSES = 2


class Net:
    """One ONNX Runtime session on one CPU thread; `run` takes the arrays of its inputs in order."""

    def __init__(self, model: bytes | Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.outputs = [node.name for node in self._session.get_outputs()]

    def run(self, *arrays: NDArray[Any]) -> Outputs:
        feeds = dict(zip(self.inputs, arrays, strict=True))
        return dict(zip(self.outputs, self._session.run(self.outputs, feeds), strict=True))


def bare_net(path: Path) -> Net:
    """The upstream network in `path`; a detector's gives probabilities again, as it did before its import."""
    model = cut(path, "body")
    for output in model.graph.output:
        if output.type.tensor_type.shape.dim[-1].dim_value == CLASSES:
            logits, output.name = output.name, "probabilities"
            model.graph.node.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=-1))
    return Net(model.SerializeToString())


def cut(path: Path, stage: Stage) -> ModelProto:
    """The nodes of one stage of the canonical network in `path`, as a network of their own."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model(path))
    graph = model.graph
    nodes = [node for node in graph.node if _stage_of(node) == stage]
    made_here = {name for node in nodes for name in node.output}
    used_here = {name for node in nodes for name in node.input}
    used_elsewhere = {name for node in graph.node if _stage_of(node) != stage for name in node.input}
    used_elsewhere |= {output.name for output in graph.output}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used_here]
    outside = used_here - made_here - {tensor.name for tensor in initializers}
    values = _values(graph)
    part = helper.make_graph(
        nodes,
        f"{graph.name}-{stage}",
        [values[name] for name in sorted(outside) if name],
        [values[name] for name in sorted(made_here & used_elsewhere)],
        initializers,
    )
    return helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)


def mean(path: Path) -> NDArray[Any] | None:
    """What the canonical network subtracts from its pixels, one value a channel; None when it takes them raw."""
    for tensor in onnx.load_model(path).graph.initializer:
        if tensor.name == "input/mean":
            values: NDArray[Any] = onnx.numpy_helper.to_array(tensor).reshape(-1)
            return values
    return None


def _stage_of(node: NodeProto) -> Stage:
    prefix = node.name.partition("/")[0]
    return "input" if prefix == "input" else "head" if prefix == "head" else "body"


def _values(graph: GraphProto) -> dict[str, ValueInfoProto]:
    return {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
