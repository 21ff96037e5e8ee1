"""SCRFD (Guo et al. 2021) as InsightFace exports it: for each stride a score, four distances and, in the `kps` and
`bnkps` models, five landmarks.

Canonical as `detector_head` says. Its anchor centres are the corners of the cells, all values in units of the stride.
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
from engines.families.preprocessing import RGB_BY_128, Preprocessing, usual_or_raw
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder

CODING = Coding()
OUTPUTS = Outputs(
    widths=((1, 4, 10), (1, 4)),
    per_cell=(1, 2),
    told="SCRFD has scores, distances and perhaps landmarks, (A, 1), (A, 4) and (A, 10), for each of the strides "
    f"{STRIDES}, with one or two anchors a cell",
)


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network with scores, distances and perhaps landmarks by stride."""
    return OUTPUTS.are_of(looks)


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """RGB (x − 127.5) / 128; raw RGB where the network begins by scaling its input itself."""
    return usual_or_raw(body, RGB_BY_128)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical detector for images of `size`; without landmarks where the network has none.

    Outputs of `body` may have any order and name: how many values there are tells them apart. Raises ModelError for
    another layout.
    """
    layout = OUTPUTS.layout(body, size)
    scores, boxes, *points = layout.names
    head = GraphBuilder("head")
    rank = one_a_prior(head, probabilities(head, body.graph, scores, "probability"))
    table = centres(size, offset=0, sides=[[stride] * layout.per_cell for stride in STRIDES])
    return finish(body, expected, head, table, CODING, rank=rank, boxes=boxes, points=points[0] if points else ())
