"""SFace (Zhong et al. 2021) as OpenCV's model zoo has it: `face_recognition_sface_2021dec.onnx`.

A MobileFaceNet from 112x112 to 128 numbers, aligned to the same five points as ArcFace's. The file was made by MXNet
(input `data`, output `fc1`) and scales its input itself. Canonical as in `engines/families/vectors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto

from engines.base import ModelError
from engines.families import Size
from engines.families.preprocessing import Preprocessing, scales_itself
from engines.families.recognition import Look
from engines.families.upstream import one_network as networks
from engines.families.vectors import canonical as convert
from engines.families.vectors import vectors

SIZE = (112, 112)


__all__ = ["convert", "default_preprocessing", "networks", "recognises", "require_size"]


def recognises(looks: Sequence[Look]) -> bool:
    """One network from a crop of 112x112, which it scales itself, to 128 numbers."""
    return (
        len(looks) == 1
        and looks[0].size == SIZE
        and [*vectors(looks[0].outputs).values()] == [128]
        and scales_itself(looks[0].body)
    )


def require_size(size: Size) -> None:
    """Crops are 112x112."""
    if size != SIZE:
        raise ModelError(f"size {size[0]}x{size[1]} (height x width): SFace takes crops of 112x112")


def default_preprocessing(body: ModelProto) -> Preprocessing:
    """RGB as it is, as `cv2.FaceRecognizerSF` feeds it."""
    return Preprocessing("rgb")
