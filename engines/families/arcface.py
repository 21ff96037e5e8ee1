"""ArcFace (Deng et al. 2019), MobileFaceNet (Chen et al. 2018) and whatever else maps an aligned face to one vector.

Canonical as in `engines/families/vectors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import Preprocessing, usual_or_raw
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.families.vectors import canonical, vectors

SIZES = ((112, 112), (112, 96))
"""(height, width) of the crops the five-point template is known for."""
INSIGHTFACE = Preprocessing("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
FED = "Fed as InsightFace feeds its networks: {}."


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network from a crop of 112x112 to 512 numbers, which InsightFace's have. Networks to fewer are fed in too
    many ways to guess."""
    return len(looks) == 1 and looks[0].size == SIZES[0] and [*vectors(looks[0].outputs).values()] == [512]


def require_size(size: Size) -> None:
    """Crops are 112x112, or 112x96 (height x width)."""
    if size not in SIZES:
        raise ModelError(f"size {size[0]}x{size[1]}: faces are aligned to 112x112 or 112x96 (height x width)")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """InsightFace's RGB (x − 127.5) / 127.5; raw RGB where the network begins by scaling its input itself."""
    return usual_or_raw(body, INSIGHTFACE)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical embedder for crops of `size`; ModelError unless `body` gives exactly one vector a crop.

    The note tells when it is fed InsightFace's way, which most who import such a network leave to be assumed.
    """
    usual = expected == default_preprocessing(body)
    fed = FED.format("RGB, (x − 127.5) / 127.5" if expected == INSIGHTFACE else "RGB, not scaled") if usual else ""
    converted = canonical(body, size, expected)
    return replace(converted, note=" ".join(filter(None, (converted.note, fed))))
