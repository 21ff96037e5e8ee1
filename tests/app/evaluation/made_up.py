"""People who exist as embeddings only: each a direction, each photo of them a little beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import Photo
from app.evaluation.run import Embedded
from app.evaluation.verification.pairs import Sample
from app.evaluation.wording import Json

ABOUT: Json = {
    "machine": {"cpu": "an abacus", "cores": 2, "measured_at": "2026-11-30T12:00:00+00:00",
                "packages": {"faceserve": "0.1.0"}},
    "models": {
        "detector": {"name": "finder", "family": "retinaface", "digest": "d" * 64,
                     "sizes": [{"height": 640, "width": 640}, {"height": 160, "width": 160}]},
        "embedder": {"name": "teller", "family": "arcface", "digest": "e" * 64,
                     "sizes": [{"height": 112, "width": 112}]},
        "runtime": {"chosen": "onnxruntime", "device": "cpu", "why": "there is no GPU"},
    },
    "method": {"face": "central", "min_score": 0.5, "flip": False, "aligned": False},
}  # fmt: skip
"""What `app.evaluation.report.about` tells of a run that never was."""


def embedded(rows: Sequence[Sequence[float] | None], *, faces: int = 1) -> Embedded:
    """The rows as they are; None for a photo without a face."""
    dimension = max((len(row) for row in rows if row is not None), default=2)
    found = np.array([row is not None for row in rows], np.bool_)
    boxes = np.where(found[:, None], np.array([[10, 10, 50, 60]], np.float32), np.float32(np.nan))
    return Embedded(
        embeddings=np.array([row or [0.0] * dimension for row in rows], np.float32).reshape(len(rows), dimension),
        found=found,
        faces=np.where(found, faces, 0).astype(np.intp),
        boxes=boxes.astype(np.float32),
        scores=np.where(found, 0.9, np.nan).astype(np.float32),
        unreadable=(),
    )


def sample(*rows: tuple[str, Sequence[float] | None]) -> Sample:
    """Photos by their people, `alice/0`, `bob/1` …, each with an embedding, or None."""
    photos = tuple(Photo(f"{person}/{place}", person, b"") for place, (person, _) in enumerate(rows))
    return Sample(photos, embedded([row for _, row in rows]))


def crowd(people: int, each: int, *, spread: float = 0.6, dimension: int = 16, seed: int = 0) -> Sample:
    """`each` photos of every one of `people`; the larger the `spread`, the less alike are photos of a person."""
    chance = np.random.default_rng(seed)
    middles = np.repeat(chance.standard_normal((people, dimension)), each, axis=0)
    rows = unit(middles + spread * chance.standard_normal(middles.shape))
    return sample(*((f"person {place // each:03}", row.tolist()) for place, row in enumerate(rows)))


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows with length 1."""
    lengths: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return lengths
