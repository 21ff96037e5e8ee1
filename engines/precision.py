"""The graph that TensorRT is given: a canonical network with the precision asked for written into its types.

ONNX Runtime runs the same graph, but on a CPU it rounds only the weights to float16, not what is between the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from engines.base import ModelError
from engines.folding import fold_normalisation
from engines.graphs import array, attribute, constants, consumers, prune
from engines.plans import Precision

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
SUFFIX: dict[int, str] = {FLOAT: "float32", FLOAT16: "float16"}
LARGEST = float(np.finfo(np.float16).max)

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What `mixed` computes in float16: where nearly all the time goes."""
WIDE = (
    *("Exp", "Log", "LogSoftmax", "Pow", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "Softmax", "Softplus"),
    *("InstanceNormalization", "LayerNormalization", "LpNormalization"),  # up to here: out of float16's range too soon
    *("Cast", "ConstantOfShape", "EyeLike", "Range"),  # makes float32 of something else
)
"""What no precision computes in float16."""
ALWAYS_FLOAT32 = {"Resize": (1, 2)}
"""Inputs, by position, that ONNX wants in float32 whatever the data's type is."""


def for_tensorrt(model: ModelProto, precision: Precision) -> ModelProto:
    """A new model that computes what the canonical network `model` does, in `precision`, from the same input.

    - fp32: everything in float32.
    - fp16: the body in float16, but for operations that soon leave its range; the head in float32.
    - mixed: convolutions and matrix products of the body in float16, the rest in float32.

    The input is scaled in float32, or in float16 where that gives the very same numbers. Whatever the precision, the
    uint8 input goes straight into Cast, as TensorRT requires, and batch normalisation into the layer before it.
    Raises ModelError for a weight beyond float16's range (±65504; too small a one becomes zero), and for a graph that
    is not canonical.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    _hoist_constants(graph)
    _cast_pixels_first(graph)
    for node in graph.node:
        node.name = node.name or node.output[0]
    values = _inferred(copy)
    fold_normalisation(graph, {value.name: len(value.type.tensor_type.shape.dim) for value in values})
    if precision != "fp32":
        floats = {value.name for value in values if value.type.tensor_type.elem_type == FLOAT}
        exact = _input_is_exact(graph)
        _Retyping(graph, floats, lambda node: _is_narrow(node, precision, exact=exact)).run()
    prune(graph)
    del graph.value_info[:]
    try:
        onnx.checker.check_model(copy, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the network cannot be written in {precision}: {error}") from error
    return copy


def float16_names(model: ModelProto) -> set[str]:
    """The names of the nodes whose output is float16, and of the weights that are."""
    narrow = {value.name for value in _inferred(model) if value.type.tensor_type.elem_type == FLOAT16}
    nodes = {node.name for node in model.graph.node if narrow.intersection(node.output)}
    return nodes | {weight.name for weight in model.graph.initializer if weight.data_type == FLOAT16}


def _scope(node: NodeProto) -> str:
    """`input`, `head`, or anything else for the body."""
    return node.name.partition("/")[0]


def _is_narrow(node: NodeProto, precision: Precision, *, exact: bool) -> bool:
    """Whether a node is to compute in float16; `exact` when the input's scaling may."""
    if _scope(node) == "input":
        return exact
    if _scope(node) == "head" or node.op_type in WIDE:
        return False
    return precision == "fp16" or node.op_type in PRODUCTS


def _inferred(model: ModelProto) -> list[ValueInfoProto]:
    """Type and shape of every tensor but the weights."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the network contradicts itself: {str(error).splitlines()[0]}") from error
    return [*graph.input, *graph.value_info, *graph.output]


def _hoist_constants(graph: GraphProto) -> None:
    """Makes initializers of Constant nodes, so that weights are found in one place."""
    dtypes = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (entry,) = node.attribute
        if entry.name == "value":
            tensor = numpy_helper.from_array(array(entry.t), node.output[0])
        elif entry.name in dtypes:
            values = np.asarray(helper.get_attribute_value(entry), dtypes[entry.name])
            tensor = numpy_helper.from_array(values, node.output[0])
        else:
            continue
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _cast_pixels_first(graph: GraphProto) -> None:
    """Lets Transpose and Cast change places, in place, where the uint8 input goes through Transpose first."""
    found = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8]
    images = found[0] if len(found) == 1 else ""
    first = consumers(graph, images)
    if {node.op_type for node in first} == {"Cast"}:
        return
    second = [reader for node in first for reader in consumers(graph, node.output[0])]
    if [node.op_type for node in (*first, *second)] != ["Transpose", "Cast"]:
        raise ModelError(
            f"not a canonical network: its uint8 inputs {found} go into {[node.op_type for node in first]} and "
            f"{[node.op_type for node in second]}, not into one Transpose and Cast; import the model again"
        )
    (transpose,), (cast,) = first, second
    planar, pixels = transpose.output[0], cast.output[0]
    for node in consumers(graph, pixels):
        node.input[:] = [planar if name == pixels else name for name in node.input]
    early = helper.make_node("Cast", [images], [pixels], name=cast.name, to=FLOAT)
    late = helper.make_node("Transpose", [pixels], [planar], name=transpose.name, perm=attribute(transpose, "perm"))
    transpose.CopyFrom(early)
    cast.CopyFrom(late)


def _input_is_exact(graph: GraphProto) -> bool:
    """Whether the pixels less their mean are whole or half numbers, all of which float16 has up to 1024."""
    nodes = [node for node in graph.node if _scope(node) == "input"]
    weights = constants(graph)
    means = [array(weights[name]) for node in nodes for name in node.input if name in weights]
    return {node.op_type for node in nodes} <= {"Cast", "Transpose", "Sub"} and all(
        ((2 * mean) % 1 == 0).all() and (abs(mean) <= 256).all() for mean in means
    )


class _Retyping:
    """Rewrites a graph, node by node, so that each finds its numbers in the type it computes in.

    A tensor or weight that is wanted in another type too is converted once, whoever wants it.
    """

    def __init__(self, graph: GraphProto, floats: Iterable[str], is_narrow: Callable[[NodeProto], bool]) -> None:
        """`floats` are the names of the tensors that are float32 before."""
        self._graph = graph
        self._weights = constants(graph)
        self._floats = {*floats, *(name for name, weight in self._weights.items() if weight.data_type == FLOAT)}
        self._is_narrow = is_narrow
        self._narrow: set[str] = set()
        self._converted: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        for node in self._graph.node:
            narrow = self._is_narrow(node)
            kept = ALWAYS_FLOAT32.get(node.op_type, ())
            for position, name in enumerate(node.input):
                wanted = FLOAT16 if narrow and position not in kept else FLOAT
                node.input[position] = self._as_type(name, wanted, node)
            if narrow:
                self._narrow |= self._floats.intersection(node.output)
                if node.op_type == "Cast":
                    node.CopyFrom(helper.make_node("Cast", node.input, node.output, name=node.name, to=FLOAT16))
            self._nodes.append(node)
        for output in self._graph.output:
            if output.name in self._narrow:
                self._widen(output.name)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _as_type(self, name: str, wanted: int, reader: NodeProto) -> str:
        """The name under which `reader` finds the tensor `name` in the type `wanted`."""
        held = FLOAT16 if name in self._narrow else FLOAT
        if name not in self._floats or held == wanted:
            return name
        key = name, wanted
        if key not in self._converted:
            self._converted[key] = f"{name}/{SUFFIX[wanted]}"
            if name in self._weights:
                self._graph.initializer.append(_narrowed(self._weights[name], self._converted[key], reader))
            else:
                self._nodes.append(_cast(name, self._converted[key], wanted))
        return self._converted[key]

    def _widen(self, output: str) -> None:
        """Gives an output of the whole graph its own type back."""
        narrow = f"{output}/float16"
        for node in self._nodes:
            node.input[:] = [narrow if name == output else name for name in node.input]
            node.output[:] = [narrow if name == output else name for name in node.output]
        self._nodes.append(_cast(narrow, output, FLOAT))


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=kind)


def _narrowed(weight: TensorProto, name: str, reader: NodeProto) -> TensorProto:
    values = array(weight)
    if reader.op_type == "Clip":  # "no bound" is often written as float32's largest number
        values = np.clip(values, -LARGEST, LARGEST)
    largest = np.max(np.abs(values), initial=0.0)
    if largest > LARGEST:
        raise ModelError(
            f"the weight {weight.name!r} has values up to {largest:.3g}, beyond float16's {LARGEST:.0f}: build this "
            "network with precision fp32"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)
