"""FaceNet (Schroff et al. 2015) as facenet-pytorch exports it: an embedder of 160x160 crops.

Canonical as arcface is, and converted by it; what differs is what the network expects of its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto

from engines.base import ModelError
from engines.families import Converted, Size, arcface
from engines.families.preprocessing import Preprocessing, scales_itself
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks

SIZE = (160, 160)
LOOSER_CROPS = (
    "Trained on a detector's loose boxes; here faces are aligned to the five-point template: measure its thresholds."
)


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network that makes a vector of a crop."""
    return len(looks) == 1 and looks[0].size == SIZE and len(looks[0].outputs) == 1


def require_size(size: Size) -> None:
    """Crops are 160x160."""
    if size != SIZE:
        raise ModelError(f"size {size[0]}x{size[1]} (height x width): FaceNet takes crops of 160x160")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """RGB (x − 127.5) / 128; raw RGB where the network begins by scaling its input itself."""
    if scales_itself(body.graph, body.graph.input[0].name):
        return Preprocessing("rgb")
    return Preprocessing("rgb", (127.5, 127.5, 127.5), (128, 128, 128))


def convert(body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
    """The canonical embedder; ModelError unless `body` gives exactly one vector a crop."""
    converted = arcface.convert(body, size, expected)
    return replace(converted, note=" ".join(filter(None, (converted.note, LOOSER_CROPS))))
