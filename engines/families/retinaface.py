"""RetinaFace (Deng et al. 2020) in the layout of biubug6's PyTorch version: boxes, two class scores, five landmarks.

Canonical as `detector_head` says. Priors, variances and decoding are those of SSD (Liu et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.detector_head import (
    STRIDES,
    Coding,
    Outputs,
    centres,
    finish,
    joined,
    made_by,
    one_a_prior,
    require_size,
)
from engines.families.preprocessing import Preprocessing, usual_or_raw
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder, attribute, producer

PRIOR_SIZES_PX = ((16, 32), (64, 128), (256, 512))
"""Side of the square priors in each cell, by the stride of the cells."""
CODING = Coding(centre=0.1, size=0.2)
USUAL = Preprocessing("bgr", (104.0, 117.0, 123.0))
OUTPUTS = Outputs(
    widths=((4, 2, 10),),
    per_cell=(2,),
    told="RetinaFace has boxes, classes and landmarks, (1, A, 4), (1, A, 2) and (1, A, 10), together or for each of "
    f"the strides {STRIDES}, with two priors a cell",
)


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network with 4, 2 and 10 values a prior."""
    return OUTPUTS.are_of(looks)


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """BGR less the mean of ImageNet; raw BGR where the network has the subtraction itself."""
    return usual_or_raw(body, USUAL)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical detector for images of `size`.

    Outputs of `body` may have any order and name: 4, 2 and 10 values a prior tell boxes, classes and landmarks apart.
    Raises ModelError for another layout or another number of priors.
    """
    boxes, classes, points = OUTPUTS.layout(body, size).names
    head = GraphBuilder("head")
    rank = _rank(head, body.graph, classes)
    return finish(body, expected, head, priors(size), CODING, rank=rank, boxes=boxes, points=points)


def priors(size: Size) -> NDArray[np.float32]:
    """(A, 3) float32: centre x, centre y and side of every prior in pixels, by stride, row, column, side."""
    return centres(size, offset=0.5, sides=PRIOR_SIZES_PX)


def _rank(head: GraphBuilder, graph: GraphProto, parts: Sequence[str]) -> str:
    """Adds the nodes that give every prior's probability (N, A) of being a face; returns their output's name.

    A softmax of two classes is the sigmoid of their difference, which is computed ten times faster than the network's
    own softmax. It stands before TopK because runtimes' sigmoids are not monotone to the last bit.
    """
    last = [producer(graph, name) for name in parts]
    logits = [n.input[0] for n in last if n and n.op_type == "Softmax" and attribute(n, "axis", -1) in (-1, 2)]
    made = made_by(graph, parts)
    if made in ("", "Sigmoid"):
        raise ModelError("the class scores are no softmax of two classes: this is not RetinaFace's layout")
    softmaxed = made == "Softmax" and len(logits) < len(parts)
    classes = joined(head, parts if softmaxed else logits or parts, "classes")
    background, face = head.ops("Split", classes, names=("background", "face"), axis=2)
    if not softmaxed:
        face = head.op("Sigmoid", head.op("Sub", face, background, name="logit"), name="probability")
    return one_a_prior(head, face)
