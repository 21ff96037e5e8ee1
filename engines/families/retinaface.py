"""RetinaFace (Deng et al. 2020) with three outputs for all priors: boxes, two class scores, five landmarks.

Canonical: `images` uint8 (N, H, W, 3) BGR → `scores` (N, K) best first, `boxes` (N, K, 4) x1 y1 x2 y2 and `landmarks`
(N, K, 5, 2), float32, in pixels of the input. Priors, variances and decoding are those of SSD (Liu et al. 2016).
The nodes after the network are named `head/…`: they decode coordinates up to the input's size and want float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto
from onnx.helper import make_tensor_value_info

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import Preprocessing, attach, scales_itself
from engines.families.recognition import Look
from engines.families.static import static_shapes
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder, assemble, attribute, producer

PRIOR_SIZES_PX = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Side of the square priors in each cell, by the stride of the cells."""
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MAX_CANDIDATES = 512
"""K, before NMS leaves about one in four. Twice as many find no more faces at a score of 0.5 in mosaics of up to 116
faces and cost twice the head (383 against 174 µs at 640x640). TensorRT's TopK allows 3,840."""
MEAN_BGR = (104.0, 117.0, 123.0)
PASS_THROUGH = ("Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network with 4, 2 and 10 values a prior."""
    if len(looks) != 1:
        return False
    height, width = looks[0].size
    count = 2 * sum((height // stride) * (width // stride) for stride in PRIOR_SIZES_PX)
    return sorted(map(str, looks[0].outputs.values())) == sorted(str((1, count, values)) for values in (2, 4, 10))


def require_size(size: Size) -> None:
    """Sides are multiples of 32, the coarsest stride."""
    if any(side < 32 or side % 32 for side in size):
        raise ModelError(f"size {size[0]}x{size[1]} (height x width): RetinaFace takes multiples of 32")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """BGR less the mean of ImageNet; raw BGR where the network has the subtraction itself."""
    if scales_itself(body.graph, body.graph.input[0].name):
        return Preprocessing("bgr")
    return Preprocessing("bgr", MEAN_BGR)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical detector for images of `size`.

    Outputs of `body` may have any order and name: 4, 2 and 10 values a prior tell boxes, classes and landmarks apart.
    Raises ModelError for another layout or another number of priors.
    """
    height, width = size
    table = priors(size)
    k = min(MAX_CANDIDATES, len(table))
    loc, conf, landms = _outputs(body, count=len(table))
    before, head = GraphBuilder("input"), GraphBuilder("head")
    attach(body.graph, body.graph.input[0].name, expected, before, "images")
    _decode(head, table, loc, landms, _best(head, body.graph, conf, k), k)
    canonical = assemble(
        [*before.nodes, *body.graph.node, *head.nodes],
        [*before.initializers, *body.graph.initializer, *head.initializers],
        [make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, 3])],
        [
            make_tensor_value_info("scores", TensorProto.FLOAT, ["N", k]),
            make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", k, 4]),
            make_tensor_value_info("landmarks", TensorProto.FLOAT, ["N", k, 5, 2]),
        ],
    )
    return Converted(canonical)


def priors(size: Size) -> NDArray[np.float32]:
    """(A, 3) float32: centre x, centre y and side of every prior in pixels, by stride, row, column, side."""
    return np.concatenate(list(_priors_by_stride(size)), dtype=np.float32)


def _priors_by_stride(size: Size) -> Iterator[NDArray[np.float64]]:
    for stride, sides in PRIOR_SIZES_PX.items():
        rows, columns = (side // stride for side in size)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(columns), np.array(sides), indexing="ij")
        yield np.stack([(x + 0.5) * stride, (y + 0.5) * stride, side], axis=-1).reshape(-1, 3)


def _outputs(body: ModelProto, count: int) -> tuple[str, str, str]:
    """Names of the outputs for boxes, classes and landmarks."""
    shapes = static_shapes(body)
    found = {shapes[output.name]: output.name for output in body.graph.output}
    wanted = [(1, count, values) for values in (4, 2, 10)]
    if len(body.graph.output) != 3 or any(shape not in found for shape in wanted):
        raise ModelError(
            f"outputs of shapes {sorted(map(str, found))} for one image: RetinaFace has {wanted} (boxes, classes, "
            "landmarks) with two priors a cell at strides 8, 16 and 32"
        )
    loc, conf, landms = (found[shape] for shape in wanted)
    return loc, conf, landms


def _best(head: GraphBuilder, graph: GraphProto, conf: str, k: int) -> str:
    """Adds the nodes that find the K most face-like priors; returns the name of their indices (N, K), best first.

    A softmax of two classes is the sigmoid of their difference, which is computed ten times faster than the network's
    own softmax. It stands before TopK because runtimes' sigmoids are not monotone to the last bit.
    """
    last = producer(graph, conf)
    if last is not None and last.op_type == "Softmax" and attribute(last, "axis", -1) in (-1, 2):
        conf, softmaxed = last.input[0], False
    else:
        softmaxed = _is_softmaxed(graph, conf)
    classes = head.ops("Split", conf, names=("background", "face"), axis=2)
    face = classes[1]
    if not softmaxed:
        face = head.op("Sigmoid", head.op("Sub", face, classes[0], name="logit"), name="probability")
    flat = head.op("Squeeze", face, head.constant([2], np.int64, name="class_axis"), name="rank")
    best = f"{head.scope}/best"
    head.add("TopK", [flat, head.constant([k], np.int64, name="k")], ["scores", best], axis=1, largest=1, sorted=1)
    return best


def _is_softmaxed(graph: GraphProto, name: str) -> bool:
    """Whether the class scores are probabilities already, followed back to where they are computed."""
    node = producer(graph, name)
    if node is None or node.op_type == "Sigmoid":
        raise ModelError("the class scores are no softmax of two classes: this is not RetinaFace's layout")
    if node.op_type not in PASS_THROUGH:
        return node.op_type == "Softmax"
    sources = node.input if node.op_type == "Concat" else node.input[:1]
    answers = {_is_softmaxed(graph, source) for source in sources}
    if len(answers) != 1:
        raise ModelError("some class scores are softmaxed and some are not: export all alike")
    return answers.pop()


def _decode(head: GraphBuilder, table: NDArray[np.float32], loc: str, landms: str, best: str, k: int) -> None:
    """Adds the nodes that decode the priors `best`, and only those, from their offsets."""

    def int64(name: str, *values: int) -> str:
        return head.constant(values, np.int64, name=name)

    def float32(name: str, value: float) -> str:
        return head.constant(value, np.float32, name=name)

    rows = head.op("Unsqueeze", best, int64("last_axis", -1), name="rows")

    def kept(values: str, width: int, name: str) -> str:
        index = head.op("Expand", rows, int64(f"{name}_width", 1, 1, width), name=f"{name}_index")
        return head.op("GatherElements", values, index, name=name, axis=1)

    def prior(columns: NDArray[np.float32], name: str) -> str:
        return head.op("Gather", head.constant(columns, np.float32, name=f"{name}s"), best, name=name, axis=0)

    centre, side = prior(table[:, :2], "prior_centre"), prior(table[:, 2:], "prior_side")
    reach = head.op("Mul", side, float32("centre_variance", CENTRE_VARIANCE), name="reach")

    shift, growth = head.ops("Split", kept(loc, 4, "loc"), names=("loc_centre", "loc_size"), axis=-1)
    middle = head.op("Add", centre, head.op("Mul", shift, reach, name="shift"), name="middle")
    ratio = head.op("Exp", head.op("Mul", growth, float32("size_variance", SIZE_VARIANCE), name="growth"), name="ratio")
    extent = head.op("Mul", side, ratio, name="extent")
    first = head.op("Sub", middle, head.op("Mul", extent, float32("one_half", 0.5), name="half"), name="first_corner")
    head.add("Concat", [first, head.op("Add", first, extent, name="last_corner")], ["boxes"], axis=-1)

    points = head.op("Reshape", kept(landms, 10, "landms"), int64("five_points", 0, k, 5, 2), name="points")
    axis = int64("point_axis", 2)
    shifts = head.op("Mul", points, head.op("Unsqueeze", reach, axis, name="point_reach"), name="point_shift")
    head.add("Add", [shifts, head.op("Unsqueeze", centre, axis, name="point_centre")], ["landmarks"])
