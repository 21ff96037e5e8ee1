"""How a photo becomes one embedding: which of its faces it is about, and what the mirrored crop adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.pipeline import largest
from engines.crops import Crops
from engines.detector import Detections

FaceRule = Literal["central", "largest"]


@dataclass(frozen=True, slots=True)
class Method:
    """How a photo becomes one embedding.

    `face` says which of several faces is meant (see `chosen`); those of a score below `min_score` (0..1) are none, None
    for the service's least score of that detector. With `flip` the embedding is the normalised sum of those of the crop
    and its mirror image. `aligned` photos are crops already, of the embedder's own size: nothing is detected.
    """

    face: FaceRule = "central"
    min_score: float | None = None
    flip: bool = False
    aligned: bool = False


def chosen(faces: Detections, rule: FaceRule, size: tuple[int, int]) -> Detections:
    """The one face of `faces` (one or more) that the rule names, of a photo of that size (height, width).

    `largest` is the service's choice. `central` is the usual one for LFW, whose photos are centred on the person meant:
    the most of area − 2 · squared distance of the box's centre from the photo's, in px² (as InsightFace chooses). Of
    equals it is the one with the best score.
    """
    if rule == "largest":
        return largest(faces)
    boxes = faces.boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    away = (boxes[:, 2:] + boxes[:, :2]) / 2 - np.array(size[::-1]) / 2
    best = np.argmax(sides.prod(axis=1) - 2 * (away**2).sum(axis=1))
    return faces[np.array([best])]


def with_mirrored(crops: Crops) -> Crops:
    """The crops (n, h, w, 3) and behind them their mirror images: (2n, h, w, 3)."""
    return np.concatenate([crops, crops[:, :, ::-1]])


def joined(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalised sums (n, D) of n embeddings and those of the mirrored crops behind them, (2n, D).

    A sum of no length, of opposite embeddings, is left at zero.
    """
    half = len(embeddings) // 2
    total = embeddings[:half] + embeddings[half:]
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    result = np.zeros_like(total)
    np.divide(total, lengths, out=result, where=lengths > 0)
    return result
