"""MTCNN (Zhang et al. 2016): P-Net, R-Net and O-Net, a file each, which `engines.cascade` runs one after the other.

Canonical, all float32 but for the images, which are uint8 BGR:
- P-Net, the files of the picture sizes: `canvas` (N, h, w, 3), a pyramid of levels (see `cascade.pyramid`) → `scores`
  (N, K) best first, `corners` (N, K, 2) x y of the windows on the canvas, in px, and `offsets` (N, K, 4);
- R-Net, 24x24: `crops` (N, 24, 24, 3) → `scores` (N,), `offsets` (N, 4);
- O-Net, 48x48: `crops` (N, 48, 48, 3) → `scores` (N,), `offsets` (N, 4), `landmarks` (N, 5, 2).

Offsets are those of a face's x1 y1 x2 y2 from the window's or crop's own, landmarks lie from its upper left corner;
both in sides of it. The nodes after a network are named `head/…`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto
from onnx.helper import make_tensor_value_info

from engines.base import ModelError
from engines.cascade.parts import CROPS, ONET, RNET
from engines.cascade.pyramid import STRIDE_PX, WINDOW_PX, canvas_size
from engines.families import Converted, Size
from engines.families.prelu import pool_before_prelu, prelu_as_relu
from engines.families.preprocessing import RGB_BY_128, Preprocessing, attach, usual_or_raw
from engines.families.recognition import Look, look_at
from engines.families.static import Shapes, outputs_of, specialise
from engines.families.upstream import Upstream
from engines.graphs import GraphBuilder, assemble, attribute, producer

MAX_CANDIDATES = 2048
SIDES_PX = (WINDOW_PX, 1536)
"""The least and the most of a picture."""
PNET = (0, 0)
"""Stands for the size of P-Net, which takes any."""
PASS_THROUGH = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")

__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """Three networks with 4 and 2 values a cell of a map, 4 and 2 a crop, and 4, 2 and 10 a crop."""
    return sorted(filter(None, (_part(look.outputs) for look in looks))) == [PNET, RNET, ONET]


def networks(given: Sequence[Upstream], asked: Sequence[Size], usual: Sequence[Size]) -> dict[Size, Upstream]:
    """P-Net for each of the sizes asked, R-Net for 24x24 and O-Net for 48x48, in whatever order the files came."""
    parts = {_part_of(network): network for network in given}
    if len(given) != 3 or set(parts) != {PNET, RNET, ONET}:
        raise ModelError(
            f"{len(given)} files were given, with {len(parts)} different networks: a model of MTCNN is P-Net, R-Net "
            "and O-Net, a file each"
        )
    pictures = [size for size in asked or usual if size not in CROPS]
    return dict.fromkeys(pictures or usual, parts[PNET]) | {ONET: parts[ONET], RNET: parts[RNET]}


def require_size(size: Size) -> None:
    """Sides of pictures go from 12 to 1536 px."""
    least, most = SIDES_PX
    if not all(least <= side <= most for side in size):
        raise ModelError(
            f"size {size[0]}x{size[1]} (height x width): MTCNN takes pictures of {least} to {most} px a side"
        )


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """RGB (x − 127.5) / 128; raw RGB where the network begins by scaling its input itself."""
    return usual_or_raw(body, RGB_BY_128)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical network of that size: P-Net for pictures, or R-Net or O-Net.

    Outputs of `body` may have any order and name: their lengths tell them apart. Raises ModelError for another layout.
    """
    part = size if size in CROPS else PNET
    if part == PNET:
        body = specialise(body, canvas_size(size))
    outputs, map_sides = _outputs(body, part)
    before, head = GraphBuilder("input"), GraphBuilder("head")
    attach(body.graph, body.graph.input[0].name, expected, before, "canvas" if part == PNET else "crops")
    pool_before_prelu(body.graph)
    if part == PNET:
        prelu_as_relu(body.graph)
    described = _candidates(head, body, outputs, map_sides) if part == PNET else _crop_head(head, body, outputs)
    name, sides = ("canvas", canvas_size(size)) if part == PNET else ("crops", size)
    canonical = assemble(
        [*before.nodes, *body.graph.node, *head.nodes],
        [*before.initializers, *body.graph.initializer, *head.initializers],
        [make_tensor_value_info(name, TensorProto.UINT8, ["N", *sides, 3])],
        described,
    )
    return Converted(canonical)


def _part_of(network: Upstream) -> Size | None:
    """Which of the three a network is; ModelError where it works at none of their sizes."""
    return _part(look_at(network, (ONET, RNET)).outputs)


def _part(outputs: Shapes) -> Size | None:
    """The part that has such outputs for one image: a map of cells has four axes. None for none of the three."""
    lengths = sorted(shape[1] or 0 for shape in outputs.values() if len(shape) > 1)
    ranks = {len(shape) for shape in outputs.values()}
    known: dict[tuple[int, ...], Size] = {(4, 2, 4): PNET, (2, 2, 4): RNET, (2, 2, 4, 10): ONET}
    return known.get((*ranks, *lengths))


def _outputs(body: ModelProto, part: Size) -> tuple[Mapping[int, str], list[int]]:
    """The outputs' names by how many values they have: 2 classes, 4 offsets, 10 coordinates; and the sides of the map
    of cells, where there is one."""
    found = outputs_of(body)
    if _part(found) != part:
        raise ModelError(
            f"outputs {found} for one image: MTCNN's P-Net has 2 and 4 values a cell, (1, 2, h, w) and (1, 4, h, w), "
            "R-Net 2 and 4 a crop of 24x24, O-Net 2, 4 and 10 a crop of 48x48"
        )
    sides = next(iter(found.values()))[2:]
    return {shape[1] or 0: name for name, shape in found.items()}, [side or 0 for side in sides]


def _probability(head: GraphBuilder, graph: GraphProto, classes: str, axes: tuple[int, int]) -> str:
    """Adds the nodes for the probability of a face; returns its name: (N, 1) or (N, 1, h, w). `axes` are the two names
    of the axis of classes.

    A softmax of two classes is the sigmoid of their difference, which costs less than the network's own.
    """
    last = producer(graph, classes)
    while last is not None and last.op_type in PASS_THROUGH:
        last = producer(graph, last.input[0])
    if last is None:
        raise ModelError("the class scores are not computed from anything")
    softmaxed = last.op_type not in ("Conv", "Gemm", "MatMul", "Add")
    if softmaxed and last.op_type == "Softmax" and classes == last.output[0] and attribute(last, "axis", -1) in axes:
        classes, softmaxed = last.input[0], False
    background, face = head.ops("Split", classes, names=("background", "face"), axis=1)
    if softmaxed:
        return face
    return head.op("Sigmoid", head.op("Sub", face, background, name="logit"), name="probability")


def _candidates(
    head: GraphBuilder, body: ModelProto, outputs: Mapping[int, str], map_sides: Sequence[int]
) -> list[ValueInfoProto]:
    """Adds the nodes that find the K most face-like cells of P-Net's map, and describes the outputs."""
    rows, columns = map_sides
    k = min(MAX_CANDIDATES, rows * columns)

    def int64(name: str, *values: int) -> str:
        return head.constant(values, np.int64, name=name)

    probability = _probability(head, body.graph, outputs[2], (1, -3))
    rank = head.op("Reshape", probability, int64("row", 0, rows * columns), name="rank")
    head.add("TopK", [rank, int64("k", k)], ["scores", "head/best"], axis=1, largest=1, sorted=1)
    width = int64("columns", columns)
    row = head.op("Div", "head/best", width, name="best_row")
    column = head.op("Sub", "head/best", head.op("Mul", row, width, name="before"), name="best_column")
    axis = int64("last_axis", -1)
    pair = [head.op("Unsqueeze", each, axis, name=f"{name}_index") for each, name in ((column, "x"), (row, "y"))]
    cells = head.op("Cast", head.op("Concat", *pair, name="cells", axis=-1), name="cells_float", to=TensorProto.FLOAT)
    head.add("Mul", [cells, head.constant(STRIDE_PX, np.float32, name="stride")], ["corners"])
    flat = head.op("Reshape", outputs[4], int64("four_rows", 0, 4, rows * columns), name="offsets_of_cells")
    index = head.op(
        "Expand",
        head.op("Unsqueeze", "head/best", int64("second_axis", 1), name="row_of_best"),
        int64("four", 1, 4, 1),
        name="best_of_four",
    )
    head.add(
        "Transpose", [head.op("GatherElements", flat, index, name="best_offsets", axis=2)], ["offsets"], perm=[0, 2, 1]
    )
    shapes = {"scores": [k], "corners": [k, 2], "offsets": [k, 4]}
    return [make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in shapes.items()]


def _crop_head(head: GraphBuilder, body: ModelProto, outputs: Mapping[int, str]) -> list[ValueInfoProto]:
    """Adds the nodes that bring the outputs of R-Net or O-Net into canonical form, and describes them."""

    def shape(name: str, *values: int) -> str:
        return head.constant(values, np.int64, name=name)

    head.add("Reshape", [_probability(head, body.graph, outputs[2], (1, -1)), shape("one", -1)], ["scores"])
    head.add("Reshape", [outputs[4], shape("four", 0, 4)], ["offsets"])
    shapes = {"scores": [], "offsets": [4]}
    if 10 in outputs:
        by_axis = head.op("Reshape", outputs[10], shape("x_then_y", 0, 2, 5), name="by_axis")
        head.add("Transpose", [by_axis], ["landmarks"], perm=[0, 2, 1])
        shapes["landmarks"] = [5, 2]
    return [make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sides]) for name, sides in shapes.items()]
