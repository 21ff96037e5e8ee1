"""YuNet (Wu et al. 2023) as libfacedetection.train and OpenCV Zoo export it: for each stride a class score, whether
there is an object at all, a box and five landmarks.

Canonical as `detector_head` says; a face's score is the geometric mean of the two. Anchor centres are the corners of
the cells, one a cell, and all values in units of the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto

from engines.families import Converted, Size
from engines.families.detector_head import (
    STRIDES,
    Coding,
    Outputs,
    centres,
    finish,
    one_a_prior,
    probabilities,
    require_size,
)
from engines.families.preprocessing import Preprocessing
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder

CODING = Coding(size=1.0)
OUTPUTS = Outputs(
    widths=((1, 1, 4, 10),),
    per_cell=(1,),
    told="YuNet has cls, obj, bbox and kps, (1, A, 1) twice, (1, A, 4) and (1, A, 10), for each of the strides "
    f"{STRIDES}, with one anchor a cell (as exported since 2023)",
)


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network with 1, 1, 4 and 10 values a cell."""
    return OUTPUTS.are_of(looks)


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """Raw BGR."""
    return Preprocessing("bgr")


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical detector for images of `size`.

    Outputs of `body` may have any order and name; the two scores need not be told apart, because they are multiplied.
    Raises ModelError for another layout.
    """
    first, second, boxes, points = OUTPUTS.layout(body, size).names
    head = GraphBuilder("head")
    face, thing = (probabilities(head, body.graph, part, name) for part, name in ((first, "face"), (second, "thing")))
    score = head.op("Sqrt", head.op("Mul", face, thing, name="both"), name="probability")
    table = centres(size, offset=0, sides=[[stride] for stride in STRIDES])
    return finish(body, expected, head, table, CODING, rank=one_a_prior(head, score), boxes=boxes, points=points)
