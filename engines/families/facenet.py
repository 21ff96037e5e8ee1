"""FaceNet (Schroff et al. 2015) as facenet-pytorch has it: an embedder of a detector's boxes, 160x160.

Canonical as in `engines/families/vectors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto

from engines.base import ModelError
from engines.families import Converted, Size
from engines.families.preprocessing import RGB_BY_128, Preprocessing, usual_or_raw
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.families.vectors import canonical, vectors

SIZE = (160, 160)
FED = "Fed as facenet-pytorch feeds it: RGB, (x − 127.5) / 128, the same for every image."


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network that makes a vector of a crop of 160x160."""
    return len(looks) == 1 and looks[0].size == SIZE and len(vectors(looks[0].outputs)) == 1


def require_size(size: Size) -> None:
    """Crops are 160x160."""
    if size != SIZE:
        raise ModelError(f"size {size[0]}x{size[1]} (height x width): FaceNet takes crops of 160x160")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """RGB (x − 127.5) / 128; raw RGB where the network begins by scaling its input itself."""
    return usual_or_raw(body, RGB_BY_128)


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical embedder; ModelError unless `body` gives exactly one vector a crop.

    The note tells when it is fed facenet-pytorch's way: older FaceNets want each image standardised by itself.
    """
    converted = canonical(body, size, expected)
    fed = FED if expected == RGB_BY_128 else ""
    return replace(converted, note=" ".join(filter(None, (converted.note, fed))))
