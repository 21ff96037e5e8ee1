"""PyTorch's side of `faceserve bench engines`: recipes, and each operation against ONNX Runtime."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from app.bench.engines import runtimes
from app.bench.engines.recipe import body_of, ensure_recipe
from app.bench.engines.runtimes import Running
from app.bench.processes import BenchError
from engines import graphs
from engines.architectures import ARCHITECTURES, build
from engines.graphs import GraphBuilder
from engines.models import SHIPPED
from tests.load import stages

DETECTOR = SHIPPED / "retinaface_mnet025" / "640x640.onnx"
EMBEDDER = SHIPPED / "mobilefacenet_256" / "112x112.onnx"
SMALL = (3, 8, 12)
WINDOW = {"kernel_shape": [3, 3], "strides": [2, 2]}
Constants = Sequence[tuple[Any, type[np.generic]]]
ONES = np.ones(3)
CASES: list[tuple[str, Constants, dict[str, Any]]] = [
    ("Add", [(2.0, np.float32)], {}),
    ("AveragePool", [], WINDOW | {"pads": [1, 1, 1, 1]}),
    ("AveragePool", [], WINDOW | {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("BatchNormalization", [(value * ONES, np.float32) for value in (1.5, 0.5, 3.0, 2.0)], {"epsilon": 1e-3}),
    ("Clip", [(-10.0, np.float32)], {}),
    ("Clip", [(-10.0, np.float32), (20.0, np.float32)], {}),
    ("Conv", [(np.linspace(-1, 1, 27).reshape(1, 3, 3, 3), np.float32)], WINDOW | {"pads": [0, 1, 1, 0]}),
    ("Conv", [(np.linspace(-1, 1, 27).reshape(3, 1, 3, 3), np.float32), (ONES, np.float32)], {"group": 3}),
    ("Conv", [(np.ones((2, 3, 3, 3)), np.float32)], {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ("Div", [(4.0, np.float32)], {}),
    ("Dropout", [], {}),
    ("Flatten", [], {"axis": 1}),
    ("GlobalAveragePool", [], {}),
    ("Identity", [], {}),
    ("LeakyRelu", [], {"alpha": 0.3}),
    ("MatMul", [(np.linspace(-1, 1, 24).reshape(12, 2), np.float32)], {}),
    ("MaxPool", [], WINDOW),
    ("MaxPool", [], WINDOW | {"pads": [1, 1, 0, 0]}),
    ("Mul", [(3.0, np.float32)], {}),
    ("PRelu", [(np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1), np.float32)], {}),
    ("ReduceL2", [], {"axes": [1], "keepdims": 1}),
    ("ReduceMean", [], {"axes": [2, 3], "keepdims": 0}),
    ("Relu", [], {}),
    ("Reshape", [([0, -1, 4], np.int64)], {}),
    ("Sigmoid", [], {}),
    ("Softmax", [], {"axis": 1}),
    ("Sub", [(4.0, np.float32)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [([1, 4], np.int64)], {}),
]


def one_node(operation: str, constants: Constants, attributes: dict[str, Any]) -> ModelProto:
    """A canonical file's shape around one operation on (N, 3, H, W)."""
    builder, body = GraphBuilder("input"), GraphBuilder("body")
    planar = builder.op("Transpose", "images", name="planar", perm=[0, 3, 1, 2])
    pixels = builder.op("Cast", planar, name="float", to=TensorProto.FLOAT)
    inputs = [body.constant(values, dtype, name=f"c{place}") for place, (values, dtype) in enumerate(constants)]
    return canonical(builder, body, body.op(operation, pixels, *inputs, name="made", **attributes))


def canonical(builder: GraphBuilder, body: GraphBuilder, made: str) -> ModelProto:
    head = GraphBuilder("head")
    head.add("Identity", [made], ["out"])
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", *SMALL[1:], 3])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    nodes = [*builder.nodes, *body.nodes, *head.nodes]
    graph = helper.make_graph(nodes, "one", [images], [out], body.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", graphs.OPSET)], ir_version=graphs.IR_VERSION)


def together() -> ModelProto:
    """What the operations above leave out: several live inputs, sizes that change, a flat layer."""
    builder, body = GraphBuilder("input"), GraphBuilder("body")
    x = builder.op("Cast", builder.op("Transpose", "images", name="p", perm=[0, 3, 1, 2]), name="f", to=1)
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = body.constant([1, 1, 2, 2], np.float32, name="scales")
    larger = body.op("Resize", x, "", scales, name="larger", **nearest)
    pooled = body.op("MaxPool", larger, name="pooled", kernel_shape=[2, 2], strides=[2, 2])
    summed = body.op("Add", pooled, body.op("Relu", x, name="relu"), name="summed")
    joined = body.op("Concat", summed, x, name="joined", axis=1)
    vector = body.op("Flatten", body.op("GlobalAveragePool", joined, name="mean"), name="flat", axis=1)
    weights = body.constant(np.linspace(-1, 1, 12).reshape(2, 6), np.float32, name="w")
    bias = body.constant([0.5, -0.5], np.float32, name="b")
    flat = body.op("Gemm", vector, weights, bias, name="gemm", transB=1)
    column = body.op("Unsqueeze", flat, body.constant([2], np.int64, name="axes"), name="column")
    row = body.op("Squeeze", column, body.constant([2], np.int64, name="same"), name="row")
    square = body.constant(np.eye(2) + 1, np.float32, name="square")
    return canonical(builder, body, body.op("Gemm", row, square, name="last"))


def operations() -> set[str]:
    """The keys of OPERATIONS, read without PyTorch."""
    tree = ast.parse((runtimes.CONTEST.parent / "operations.py").read_text())
    (table,) = (each.value for each in tree.body if isinstance(each, ast.AnnAssign))
    assert isinstance(table, ast.Dict)
    return {str(ast.literal_eval(key)) for key in table.keys if key is not None}


def written(model: ModelProto, folder: Path) -> Path:
    file = folder / "network.onnx"
    file.write_bytes(model.SerializeToString())
    return ensure_recipe(file, folder / "recipes")


@pytest.mark.parametrize("path", [DETECTOR, EMBEDDER], ids=["detector", "embedder"])
def test_a_recipe_holds_the_bare_network(path: Path, tmp_path: Path) -> None:
    folder = ensure_recipe(path, tmp_path)
    steps = json.loads((folder / "steps.json").read_bytes())
    with np.load(folder / "reference.npz") as stored:
        reference = {name: stored[name] for name in stored.files}
    expected = stages.Net(stages.cut(path, "body").SerializeToString()).run(reference.pop("images"))
    assert set(steps["outputs"]) == set(reference) == set(expected)
    for name, found in reference.items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-5)
    assert {node["operation"] for node in steps["nodes"]} <= operations()


def test_a_recipe_is_written_once(tmp_path: Path) -> None:
    folder = ensure_recipe(EMBEDDER, tmp_path)
    before = (folder / "weights.npz").stat().st_mtime_ns
    assert ensure_recipe(EMBEDDER, tmp_path) == folder
    assert (folder / "weights.npz").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith(("arcface_r", "adaface_"))])
def test_pytorch_knows_the_operations_of_our_architectures(name: str) -> None:
    network = build(name, weights=lambda parameter, shape: np.zeros(shape, np.float32))
    assert {node.op_type for node in network.graph.node} <= operations()


def test_every_operation_has_a_case() -> None:
    tried = {name for name, _, _ in CASES} | {node.op_type for node in body_of(together()).graph.node}
    assert tried == operations()


@pytest.fixture(scope="module")
def pytorch() -> Any:
    try:
        python = runtimes.find_torch()
    except BenchError as error:
        pytest.skip(f"needs PyTorch: {error}")
    running = Running(runtimes.pytorch(python, "fp32"))
    yield running
    running.close()


def agrees(pytorch: Running, folder: Path) -> bool:
    answer = pytorch.ask(do="open", recipe=str(folder), batch=2)
    assert "left_out" not in answer, answer
    tensor_float_32 = answer["description"]["device"] == "cuda"
    return bool(answer["facts"]["worst_difference"] < (5e-3 if tensor_float_32 else 1e-4))


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)])
def test_an_operation_agrees_with_onnx_runtime(
    case: tuple[str, Constants, dict[str, Any]], pytorch: Running, tmp_path: Path
) -> None:
    assert agrees(pytorch, written(one_node(*case), tmp_path))


def test_operations_together_agree_with_onnx_runtime(pytorch: Running, tmp_path: Path) -> None:
    assert agrees(pytorch, written(together(), tmp_path))


def test_a_network_agrees_and_is_measured(pytorch: Running, tmp_path: Path) -> None:
    assert agrees(pytorch, ensure_recipe(EMBEDDER, tmp_path))
    found = pytorch.ask(do="turn", seconds=0.1)
    assert set(found["latencies_ms"]) == set(found["images_per_s"]) == {"device", "call"}
    assert all(value > 0 for value in (*found["latencies_ms"]["call"], *found["latencies_ms"]["device"]))


def test_an_unknown_operation_is_left_out_with_its_name(pytorch: Running, tmp_path: Path) -> None:
    folder = written(one_node("Erf", [], {}), tmp_path)
    answer = pytorch.ask(do="open", recipe=str(folder), batch=1)
    assert answer == {"left_out": "the PyTorch runner does not know the operation Erf"}
