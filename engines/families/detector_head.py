"""What single-shot detectors share: outputs told apart by their shapes, the K best found, and only those decoded.

Canonical: `images` uint8 (N, H, W, 3) BGR → `scores` (N, K) best first, `boxes` (N, K, 4) x1 y1 x2 y2 and, where the
network has them, `landmarks` (N, K, 5, 2), float32, in pixels of the input. The nodes after the network are named
`head/…`: they decode coordinates up to the input's size and want float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto
from onnx.helper import make_tensor_value_info

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import Preprocessing, attach
from engines.families.recognition import Look
from engines.families.static import Shapes, outputs_of
from engines.graphs import GraphBuilder, assemble, producers

STRIDES = (8, 16, 32)
"""Pixels from cell to cell in the three grids that every family here has."""
MAX_CANDIDATES = 512
"""K, before NMS leaves about one in four. Twice as many find no more faces at a score of 0.5 in mosaics of up to 116
faces and cost twice the head (383 against 174 µs at 640x640, RetinaFace). TensorRT's TopK allows 3,840."""
PASS_THROUGH = ("Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class Coding:
    """How a network writes a box and landmarks, relative to its prior's centre and in units of the prior's side.

    Shifts are multiplied by `centre`. A box is the shift of its middle and the logarithm of its extent over `size`
    (SSD, Liu et al. 2016); or, without `size`, the distances to its four sides (FCOS, Tian et al. 2019).
    """

    centre: float = 1.0
    size: float | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Which outputs are what: for each kind of value asked for their names, one or by stride; priors a cell."""

    names: tuple[tuple[str, ...], ...]
    per_cell: int


def require_size(size: Size) -> None:
    """Sides are multiples of 32, the coarsest stride."""
    if any(side < 32 or side % 32 for side in size):
        raise ModelError(f"size {size[0]}x{size[1]} (height x width): detectors of this kind take multiples of 32")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the networks of a family give, and nothing else: for one image values of one of these sequences of `widths`,
    each kind one (1, A, width), or one a stride, in any order and under any name.

    `per_cell` are the numbers of priors in a cell that come into question; `told` is all that in words, for an error.
    """

    widths: tuple[tuple[int, ...], ...]
    per_cell: tuple[int, ...]
    told: str

    def are_of(self, looks: Sequence[Look]) -> bool:
        """Whether what is looked at is one such network."""
        return len(looks) == 1 and self._layout(looks[0].outputs, looks[0].size) is not None

    def layout(self, body: ModelProto, size: Size) -> Layout:
        """Which outputs are what; of kinds equally wide the order is the file's. ModelError where they are others."""
        outputs = outputs_of(body)
        if (found := self._layout(outputs, size)) is None:
            raise ModelError(f"outputs of shapes {sorted(map(str, outputs.values()))} for one image: {self.told}")
        return found

    def _layout(self, outputs: Shapes, size: Size) -> Layout | None:
        by_shape: dict[tuple[int | None, ...], list[str]] = {}
        for name, shape in outputs.items():
            by_shape.setdefault(shape, []).append(name)
        found = Counter({shape: len(names) for shape, names in by_shape.items()})
        for widths, priors in product(self.widths, self.per_cell):
            each = [priors * (size[0] // stride) * (size[1] // stride) for stride in STRIDES]
            for counts in ([sum(each)], each):
                if found == Counter((1, count, width) for count in counts for width in widths):
                    kinds = (tuple(by_shape[1, count, width].pop(0) for count in counts) for width in widths)
                    return Layout(tuple(kinds), priors)
        return None


def joined(head: GraphBuilder, parts: Sequence[str], name: str) -> str:
    """One tensor for all strides."""
    return parts[0] if len(parts) == 1 else head.op("Concat", *parts, name=name, axis=1)


def made_by(graph: GraphProto, names: Sequence[str]) -> str:
    """The type of the node that computes these values, whatever rearranges them after it ("" for an input or constant).

    Raises ModelError where it is a Softmax or Sigmoid for some of them and not for others.
    """
    writers, found, open_, seen = producers(graph), set(), list(names), set(names)
    while open_:
        node = writers.get(open_.pop())
        if node is None or node.op_type not in PASS_THROUGH:
            found.add("" if node is None else node.op_type)
            continue
        sources = set(node.input if node.op_type == "Concat" else node.input[:1]) - seen
        seen |= sources
        open_.extend(sources)
    if len(found) > 1 and found & {"Softmax", "Sigmoid"}:
        raise ModelError(f"some scores come of {' and some of '.join(sorted(found))}: export all alike")
    return min(found)


def probabilities(head: GraphBuilder, graph: GraphProto, parts: Sequence[str], name: str) -> str:
    """The scores of these outputs, one value a prior, as probabilities (N, A, 1), for all strides: a sigmoid is added
    where the network ends without. Raises ModelError for scores that are no sigmoid's."""
    made = made_by(graph, parts)
    if made == "Softmax":
        raise ModelError("the scores are a softmax: detectors of this kind have a sigmoid")
    scores = joined(head, parts, name if made == "Sigmoid" else f"{name}_logit")
    return scores if made == "Sigmoid" else head.op("Sigmoid", scores, name=name)


def one_a_prior(head: GraphBuilder, scores: str) -> str:
    """(N, A, 1) as (N, A)."""
    return head.op("Squeeze", scores, head.constant([2], np.int64, name="class_axis"), name="rank")


def centres(size: Size, *, offset: float, sides: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """(A, 3) float32: centre x, centre y and side of every prior in pixels, by stride, row, column, side.

    A cell's priors have the `sides` of its stride, and their centre `offset` cells from its upper left corner.
    """
    return np.concatenate(list(_by_stride(size, offset, sides)), dtype=np.float32)


def _by_stride(size: Size, offset: float, sides: Sequence[Sequence[float]]) -> Iterator[NDArray[np.float64]]:
    for stride, of_stride in zip(STRIDES, sides, strict=True):
        rows, columns = (side // stride for side in size)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(columns), np.array(of_stride), indexing="ij")
        yield np.stack([(x + offset) * stride, (y + offset) * stride, side], axis=-1).reshape(-1, 3)


def finish(
    body: ModelProto,
    expected: Preprocessing,
    head: GraphBuilder,
    table: NDArray[np.float32],
    coding: Coding,
    *,
    rank: str,
    boxes: Sequence[str],
    points: Sequence[str],
) -> Converted:
    """The canonical detector around `body`.

    `table` is that of `centres`. `rank` (N, A) are the scores, 0..1, which `head` has the nodes for; `boxes` and
    `points` name the outputs of 4 and 10 values a prior, one or by stride; no `points`, no landmarks.
    """
    height, width = (d.dim_value for d in body.graph.input[0].type.tensor_type.shape.dim[2:])
    k = min(MAX_CANDIDATES, len(table))
    before = GraphBuilder("input")
    attach(body.graph, body.graph.input[0].name, expected, before, "images")
    best = f"{head.scope}/best"
    head.add("TopK", [rank, head.constant([k], np.int64, name="k")], ["scores", best], axis=1, largest=1, sorted=1)
    _decode(head, table, coding, best, k, joined(head, boxes, "locs"), joined(head, points, "marks") if points else "")
    shapes: dict[str, list[int]] = {"scores": [k], "boxes": [k, 4]} | ({"landmarks": [k, 5, 2]} if points else {})
    canonical = assemble(
        [*before.nodes, *body.graph.node, *head.nodes],
        [*before.initializers, *body.graph.initializer, *head.initializers],
        [make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, 3])],
        [make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in shapes.items()],
    )
    return Converted(canonical, landmarks=bool(points))


def _decode(
    head: GraphBuilder, table: NDArray[np.float32], coding: Coding, best: str, k: int, boxes: str, points: str
) -> None:
    """Adds the nodes that decode the priors `best`, and only those."""
    rows = head.op("Unsqueeze", best, head.constant([-1], np.int64, name="last_axis"), name="rows")

    def kept(values: str, width: int, name: str) -> str:
        index = head.op(
            "Expand", rows, head.constant([1, 1, width], np.int64, name=f"{name}_width"), name=f"{name}_index"
        )
        return head.op("GatherElements", values, index, name=name, axis=1)

    def prior(columns: NDArray[np.float32], name: str) -> str:
        return head.op("Gather", head.constant(columns, np.float32, name=f"{name}s"), best, name=name, axis=0)

    centre, side = prior(table[:, :2], "prior_centre"), prior(table[:, 2:], "prior_side")
    reach = _times(head, side, coding.centre, "centre_variance", "reach")
    if coding.size is None:
        _distances(head, centre, reach, kept(boxes, 4, "loc"))
    else:
        _extents(head, centre, side, reach, kept(boxes, 4, "loc"), coding.size)
    if not points:
        return
    marks = kept(points, 10, "landms")
    marks = head.op("Reshape", marks, head.constant([0, k, 5, 2], np.int64, name="five_points"), name="points")
    axis = head.constant([2], np.int64, name="point_axis")
    shifts = head.op("Mul", marks, head.op("Unsqueeze", reach, axis, name="point_reach"), name="point_shift")
    head.add("Add", [shifts, head.op("Unsqueeze", centre, axis, name="point_centre")], ["landmarks"])


def _distances(head: GraphBuilder, centre: str, reach: str, loc: str) -> None:
    scaled = head.op("Mul", loc, reach, name="distances")
    upper, lower = head.ops("Split", scaled, names=("upper_left", "lower_right"), axis=-1)
    first, last = (head.op(op, centre, part, name=f"{op}_corner") for op, part in (("Sub", upper), ("Add", lower)))
    head.add("Concat", [first, last], ["boxes"], axis=-1)


def _extents(head: GraphBuilder, centre: str, side: str, reach: str, loc: str, size: float) -> None:
    shift, growth = head.ops("Split", loc, names=("loc_centre", "loc_size"), axis=-1)
    middle = head.op("Add", centre, head.op("Mul", shift, reach, name="shift"), name="middle")
    ratio = head.op("Exp", _times(head, growth, size, "size_variance", "growth"), name="ratio")
    extent = head.op("Mul", side, ratio, name="extent")
    half = head.op("Mul", extent, head.constant(0.5, np.float32, name="one_half"), name="half")
    first = head.op("Sub", middle, half, name="first_corner")
    head.add("Concat", [first, head.op("Add", first, extent, name="last_corner")], ["boxes"], axis=-1)


def _times(head: GraphBuilder, values: str, factor: float, what: str, name: str) -> str:
    return values if factor == 1 else head.op("Mul", values, head.constant(factor, np.float32, name=what), name=name)
