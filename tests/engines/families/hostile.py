"""Files that mean harm, each made from a sound network: what a parser, a shape inference or a store could trip over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Change = Callable[[ModelProto], None]
HUGE = 2**40


def _insert(model: ModelProto, *nodes: NodeProto, **constants: object) -> None:
    """Has the last of `nodes` give what the network's output was (known to them as "output"), `constants` at hand."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["output" if name == output else name for name in node.output]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    nodes[-1].output[0] = output
    model.graph.node.extend(nodes)


def _node(op_type: str, *inputs: str, to: str = "last", **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, list(inputs), [to], name=to, **attributes)


def claims_gigabytes(model: ModelProto) -> None:
    model.graph.initializer[-1].dims[:] = [2**15, 2**14]


def claims_gigabytes_without_data(model: ModelProto) -> None:
    model.graph.initializer[-1].CopyFrom(
        TensorProto(name=model.graph.initializer[-1].name, data_type=TensorProto.FLOAT, dims=[2**29])
    )


def claims_less_than_nothing(model: ModelProto) -> None:
    model.graph.initializer[-1].dims[:] = [-1, -4]


def fills_a_constant(model: ModelProto) -> None:
    _insert(model, _node("ConstantOfShape", "n", to="many"), _node("ReduceSum", "many", to="sum", keepdims=0),
            _node("Add", "output", "sum"), n=np.array([HUGE], np.int64))  # fmt: skip


def expands(model: ModelProto) -> None:
    _insert(model, _node("Expand", "output", "n", to="many"), _node("ReduceSum", "many", "axis", keepdims=0),
            n=np.array([2**28, 1, 1], np.int64), axis=np.array([0], np.int64))  # fmt: skip


def tiles(model: ModelProto) -> None:
    _insert(model, _node("Tile", "output", "n", to="many"), _node("ReduceMax", "many", axes=[1]),
            n=np.array([1, 2**31], np.int64))  # fmt: skip


def counts(model: ModelProto) -> None:
    _insert(model, _node("Range", "zero", "n", "one", to="many"), _node("ReduceSum", "many", to="sum", keepdims=0),
            _node("Cast", "sum", to="float"), _node("Add", "output", "float"), zero=np.int64(0), n=np.int64(HUGE),
            one=np.int64(1))  # fmt: skip
    model.graph.node[-2].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))


def enlarges(model: ModelProto) -> None:
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["small" if each == name else each for each in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 4096, 4096], np.float32), "scales"))
    model.graph.node.insert(0, _node("MaxPool", "large", to="small", kernel_shape=[4096, 4096], strides=[4096, 4096]))
    model.graph.node.insert(0, _node("Resize", name, "", "scales", to="large"))


def multiplies_constants(model: ModelProto) -> None:
    """Each sum is small on file and 8 MB when computed."""
    nodes = [_node("Add", "row", "column", to=f"square{n}") for n in range(400)]
    total = _node("Sum", *(node.output[0] for node in nodes), to="total")
    _insert(model, *nodes, total, _node("ReduceMax", "total", to="top", keepdims=0), _node("Add", "output", "top"),
            row=np.zeros((1, 1024)), column=np.zeros((1024, 1)))  # fmt: skip


def runs_in_a_circle(model: ModelProto) -> None:
    _insert(model, _node("Add", "output", "second", to="first"), _node("Add", "output", "first", to="second"),
            _node("Add", "first", "second"))  # fmt: skip


def squeezes_a_single_number(model: ModelProto) -> None:
    _insert(model, _node("ReduceMean", "output", to="mean", keepdims=0), _node("Squeeze", "mean"))


def reshapes_a_single_number(model: ModelProto) -> None:
    _insert(model, _node("ReduceMean", "output", to="mean", keepdims=0), _node("Reshape", "mean", "shape"),
            shape=np.array([1, 1], np.int64))  # fmt: skip


def feeds_itself(model: ModelProto) -> None:
    _insert(model, _node("Add", "output", "itself", to="itself"), _node("Identity", "itself"))


def uses_an_unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Convolve"


def uses_a_newer_operator(model: ModelProto) -> None:
    _insert(model, _node("Gelu", "output"))


def draws_lots(model: ModelProto) -> None:
    _insert(model, _node("RandomNormalLike", "output"))


def has_a_subgraph(model: ModelProto) -> None:
    branch = helper.make_graph(
        [_node("Identity", "output", to="b")], "b", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    )
    _insert(model, _node("If", "yes", then_branch=branch, else_branch=branch), yes=np.array(True))


def hides_a_subgraph(model: ModelProto) -> None:
    """An attribute that says it is a number."""
    entry = model.graph.node[0].attribute.add(name="dilations")
    entry.type, entry.i = 2, 1
    entry.g.node.add(op_type="Identity")


def has_a_function(model: ModelProto) -> None:
    model.functions.add(name="f", domain="")


def trains(model: ModelProto) -> None:
    model.training_info.add().algorithm.node.add(op_type="Identity")


def has_sparse_weights(model: ModelProto) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [HUGE]))


def has_sparse_constants(model: ModelProto) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, indices, [2**31])
    _insert(model, _node("Constant", to="many", sparse_value=sparse), _node("ReduceSum", "many", to="sum", keepdims=0),
            _node("Add", "output", "sum"))  # fmt: skip


def keeps_sparse_weights_elsewhere(model: ModelProto) -> None:
    has_sparse_weights(model)
    values = model.graph.sparse_initializer[0].values
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="/etc/passwd")


def has_a_name_of_megabytes(model: ModelProto) -> None:
    model.graph.node[0].op_type = "x" * 2**22


def names_its_input_at_length(model: ModelProto) -> None:
    model.graph.input.add(name="x" * 2**22).type.tensor_type.elem_type = TensorProto.FLOAT


def is_nested_deeply(model: ModelProto) -> None:
    inner = model.graph.node[0].attribute.add(name="deep").g
    for _ in range(40):  # protobuf's parsers stop at a depth of 100 messages, three to a level here
        inner = inner.node.add().attribute.add(name="deep").g


def names_two_tensors_alike(model: ModelProto) -> None:
    _insert(model, _node("Relu", "output", to="twice"), _node("Abs", "output", to="twice"), _node("Neg", "twice"))


def names_two_weights_alike(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def names_differ_by_a_slash(model: ModelProto) -> None:
    """Which the new names leave out."""
    _insert(model, _node("Relu", "output", to="/twice"), _node("Abs", "output", to="twice"),
            _node("Add", "/twice", "twice"))  # fmt: skip


def has_weights_that_are_no_numbers(model: ModelProto) -> None:
    values = numpy_helper.to_array(model.graph.initializer[-1]).copy()
    values.flat[0] = np.nan
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[-1].name))


def has_infinite_weights(model: ModelProto) -> None:
    values = numpy_helper.to_array(model.graph.initializer[-1]).copy()
    values.flat[0] = np.inf
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[-1].name))


def has_endless_nodes(model: ModelProto) -> None:
    nodes = [_node("Identity", f"step{n}" if n else "output", to=f"step{n + 1}") for n in range(20_000)]
    _insert(model, *nodes)


def is_for_another_century(model: ModelProto) -> None:
    model.opset_import[0].version = 1000


CHANGES: list[Change] = [
    entry for name, entry in globals().items() if callable(entry) and entry.__module__ == __name__ and name[0] != "_"
]  # fmt: skip
