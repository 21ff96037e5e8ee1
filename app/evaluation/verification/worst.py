"""The pairs that are told wrong most clearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.evaluation.run import Embedded
from app.evaluation.verification.pairs import Pairs, detected
from app.evaluation.wording import Json

MOST = 12


def worst(pairs: Pairs, embedded: Embedded, scores: NDArray[np.float64]) -> Json:
    """The names and cosines of the 12 impostor pairs with the highest cosine and of the 12 genuine ones with the
    lowest, the worst first; pairs with a photo without a face are only counted."""
    seen = detected(pairs, embedded)
    return {
        "false_accepts": _named(pairs, scores, np.flatnonzero(seen & ~pairs.same), -scores),
        "false_rejects": _named(pairs, scores, np.flatnonzero(seen & pairs.same), scores),
        "undetected": {"genuine": int((~seen & pairs.same).sum()), "impostor": int((~seen & ~pairs.same).sum())},
    }


def _named(
    pairs: Pairs, scores: NDArray[np.float64], places: NDArray[np.intp], rank: NDArray[np.float64]
) -> list[Json]:
    first = places[np.argsort(rank[places], kind="stable")[:MOST]]
    return [
        {
            "left": pairs.photos[pairs.left[place]].name,
            "right": pairs.photos[pairs.right[place]].name,
            "similarity": float(scores[place]),
        }
        for place in first
    ]
