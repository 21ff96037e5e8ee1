"""What small upstream networks with random weights are written with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save

from engines.families import Size
from engines.importing import import_model
from engines.models import ModelSpec, ModelStore

Array = NDArray[Any]
STRIDES = (8, 16, 32)


def run(path: Path, images: Array) -> dict[str, Array]:
    """What a graph of one input gives, by ONNX Runtime on one thread: outputs by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def noise(seed: int, *shape: int) -> Array:
    """Pixels, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def imported_as(family: str, source: Path, folder: Path, size: Size | None = None) -> ModelSpec:
    """The network for `size`, or its own, imported without a word of what it is, and taken for this family's."""
    spec = import_model(source, into=ModelStore(folder), sizes=[size] if size else None, name="taken", replace=True)
    assert spec.family == family
    return spec


class Net:
    """Collects nodes and weights of an upstream network. One seed gives one network, whatever NumPy's version."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.random = np.random.RandomState(seed)  # unlike Generator's, its stream never changes

    def op(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        output = to or f"/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def const(self, values: object, dtype: type[np.generic] = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def normal(self, *shape: int, scale: float) -> str:
        return self.const(self.random.normal(size=shape) * scale)

    def save(self, path: Path, shape: list[Any], outputs: dict[str, list[Any]], opset: int, ir: int = 7) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "upstream",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            self.weights,
        )
        if ir < 4:
            graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.weights)
        model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
        save(model, path)
        return path

    def features(self, scale: float = 0.005) -> str:
        """Four channels of the image's size; the default `scale` is for pixels that have not been scaled."""
        smooth = self.op("Conv", "input", self.normal(4, 3, 3, 3, scale=scale), pads=[1, 1, 1, 1])
        return self.op("LeakyRelu", smooth, alpha=0.1)

    def cells(self, features: str, stride: int, values: int) -> str:
        """`values` channels, one place a cell."""
        kernel = self.normal(values, 4, stride, stride, scale=0.3 / stride)
        return self.op("Conv", features, kernel, self.normal(values, scale=0.5), strides=[stride, stride])


def write_scrfd(
    path: Path,
    *,
    seed: int = 0,
    per_cell: int = 2,
    kinds: Sequence[int] = (1, 4, 10),
    shape: tuple[Any, ...] = (1, 3, "h", "w"),
    batch: bool = False,
    sigmoid: bool = True,
    opset: int = 11,
) -> Path:
    """An SCRFD of ten convolutions: its outputs, by kind and stride, are (A, kind) as published, or with a `batch`
    axis (1, A, kind)."""
    net, outputs = Net(seed), {}
    features = net.features(scale=0.5)
    for kind in kinds:
        for stride in STRIDES:
            cells = net.cells(features, stride, per_cell * kind)
            flat = net.op("Transpose", cells, perm=[0, 2, 3, 1] if batch else [2, 3, 0, 1])
            target = net.const([1, -1, kind] if batch else [-1, kind], np.int64)
            last = net.op("Reshape", flat, target)
            name = str(400 + len(net.nodes))
            net.op("Sigmoid" if kind == 1 and sigmoid else "Identity", last, to=name)
            outputs[name] = ["", "", ""][: 3 if batch else 2]
    return net.save(path, list(shape), outputs, opset)


def write_yunet(
    path: Path,
    *,
    seed: int = 0,
    shape: tuple[Any, ...] = ("n", 3, "h", "w"),
    kinds: Sequence[tuple[str, int]] = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)),
    sigmoid: bool = True,
    opset: int = 11,
) -> Path:
    """A YuNet of thirteen convolutions; `kinds` names its outputs in the order in which they are written."""
    net, outputs = Net(seed), {}
    features = net.features(scale=0.001)  # exp of what follows is a box's size
    for kind, values in kinds:
        for stride in STRIDES:
            flat = net.op("Transpose", net.cells(features, stride, values), perm=[0, 2, 3, 1])
            target = net.const([0 if isinstance(shape[0], str) else 1, -1, values], np.int64)
            last = net.op("Reshape", flat, target)
            net.op("Sigmoid" if values == 1 and sigmoid else "Identity", last, to=f"{kind}_{stride}")
            outputs[f"{kind}_{stride}"] = [shape[0], "", values]
    return net.save(path, list(shape), outputs, opset)
