"""What a deed's line says of it beside its names: numbers and flags, no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.audit.recorder import Deed, noting
from gallery.types import Enrolment, Threshold


def note_expiry(deed: Deed, expires_at: float | None) -> None:
    """When somebody goes unasked is told beforehand, for an expiry is nobody's deed and gets no line; where the
    enrolment leaves it to the collection, its `create_collection` has told it."""
    if expires_at is not None:
        deed.facts["expires_at"] = float(expires_at) if np.isfinite(expires_at) else "never"


def note_enrolment(deed: Deed, done: Enrolment) -> None:
    fresh = sum(face.duplicate_of is None for face in done.faces)
    deed.facts |= {"created": done.created, "faces": fresh, "duplicates": len(done.faces) - fresh}


def noted(threshold: Threshold, deed: Deed) -> Threshold:
    """The threshold, noted when it is drawn; whoever draws it may have noted what it stands for before."""
    if not callable(threshold):
        deed.facts["threshold"] = float(threshold)  # numpy's numbers are no JSON
        return threshold
    draw = threshold

    def drawn(identities: int) -> float:
        with noting(deed):
            line = draw(identities)
        deed.facts = {"threshold": float(line)} | deed.facts | {"among": identities}
        return line

    return drawn


def people_found(lists: Sequence[Sequence[tuple[str, float]]], least: float) -> list[str]:
    """The names in lists of (name, similarity) from `least` on, each once; those that are best in a list come first."""
    ranks = max(map(len, lists), default=0)
    found = [each[rank][0] for rank in range(ranks) for each in lists if len(each) > rank and each[rank][1] >= least]
    return list(dict.fromkeys(found))
