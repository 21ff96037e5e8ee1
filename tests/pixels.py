"""An embedder that is small, quick and really one: a crop's averages over cells, as a vector. Equal crops are alike."""

from __future__ import annotations

from onnx import TensorProto, helper

from engines.families import Crop
from engines.manifest import ModelSpec
from engines.models import ModelStore, write_model
from engines.thresholds import Thresholds

THRESHOLDS = Thresholds(verify=0.999, verify_far=None, recognize=0.999, note="for tests")


def write_pixels(
    store: ModelStore,
    name: str = "pixels",
    *,
    size: tuple[int, int] = (112, 112),
    cell: int = 16,
    crop: Crop = "template",
    margin_px: int = 0,
) -> ModelSpec:
    """Adds it to the store. Another `cell` (px) makes another embedder of the same kind."""
    height, width = size
    dimension = 3 * (height // cell) * (width // cell)
    nodes = [
        helper.make_node("Cast", ["crops"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["cells"], ["flat"], axis=1),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("ReduceL2", ["centred"], ["length"], axes=[1]),
        helper.make_node("Constant", [], ["least"], value_float=1e-6),
        helper.make_node("Add", ["length", "least"], ["divisor"]),
        helper.make_node("Div", ["centred", "divisor"], ["embeddings"]),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Squeeze", ["length", "axis"], ["norms"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", height, width, 3])],
        [
            helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", dimension]),
            helper.make_tensor_value_info("norms", TensorProto.FLOAT, ["n"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec(
        name=name,
        task="embedder",
        family="arcface",
        files=(),
        digest="",
        dimension=dimension,
        licence="none",
        commercial_use=True,
        note="",
        source="tests",
        source_sha256="0" * 64,
        channels="bgr",
        landmark_order=(),
        thresholds=THRESHOLDS,
        crop=crop,
        margin_px=margin_px,
        urls=("https://example.org/pixels.onnx",),
    )
    return write_model(spec, {size: model}, store, replace=False)
