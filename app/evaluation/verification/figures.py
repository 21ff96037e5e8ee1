"""All figures of a verification run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import REPLICATES, Interval, ratio
from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.run import Embedded
from app.evaluation.verification import far_table
from app.evaluation.verification.accuracy import accuracy
from app.evaluation.verification.by_group import Judged
from app.evaluation.verification.curves import Roc, corners
from app.evaluation.verification.far_table import FarTable
from app.evaluation.verification.impostors import GRID, STEPS, Impostors
from app.evaluation.verification.operating import Operating
from app.evaluation.verification.pairs import Pairs, Sample, Scored, detected, people_of, similarities
from app.evaluation.verification.worst import worst
from app.evaluation.wording import Json

PHOTOS_OF_ONE = 5
"""Of how many photos of a person the FAR table is made: a stranger is one person, however often he was photographed.
With all 530 photos of the most photographed one of LFW's 4,038 development people, every tenth impostor pair is his,
and intervals over people are so wide that the table ends at a FAR of 5e-4; with 5 photos each it reaches 5e-6."""
NO_PEOPLE = "nobody says whom the photos show, and intervals are taken over people"
POINTS = 500
EDGES = np.linspace(-1, 1, 101)
Groups = Mapping[str, Mapping[str, str]]
"""Attribute → name of a photo → the group it is in."""


def measure(
    pairs: Pairs,
    embedded: Embedded,
    *,
    table: Sample | None = None,
    check: Sample | None = None,
    choose_on: Scored | None = None,
    replicates: int = REPLICATES,
    groups: Groups | None = None,
) -> Json:
    """The figures of `pairs`, as plain values; a rate lies in 0..1, and an interval is a 95 % one over people.

    `embedded` is that of `pairs.photos`. All pairs of different people of `table` make the FAR table and with it the
    thresholds (without it those among the pairs' own photos do), with at most PHOTOS_OF_ONE photos a person. All those
    of `check` try it, with all photos, which proves the less the more `shared_people` the two samples have. The
    threshold of the accuracy is chosen on `choose_on`, else on other folds. `groups` cuts the pairs. `replicates` 0
    gives no intervals. The same arguments give the same figures.

    A pair with a photo without a face scores -1: rejected, which is right for an impostor and wrong for a genuine pair.
    Where a photo has no person there is no table, no check, no group and no interval. Raises EvaluationError without
    both genuine and impostor pairs.
    """
    if pairs.same.all() or not pairs.same.any():
        raise EvaluationError(f"{len(pairs.same)} pairs, and not both of the same person and of different people")
    scores = similarities(pairs, embedded)
    seen = detected(pairs, embedded)
    why = None if people_of(pairs.photos) else NO_PEOPLE
    shown = Operating.of(pairs, scores)
    area, error = shown.summary(replicates)
    made = _table(Sample(pairs.photos, embedded) if table is None else table, replicates)
    promised = far_table.promises(made, why or "there are no pairs of different people")
    verify = promised["thresholds"]["verify"] if promised["thresholds"] else _at_eer(shown.roc)
    judged = Judged(pairs, embedded, scores, verify)
    return {
        **_photos(pairs, embedded, replicates),
        "pairs": _counts(pairs, seen),
        "accuracy": accuracy(pairs, scores, choose_on).as_json(),
        "auc": area.as_json(),
        "eer": error.as_json(),
        "tar_at_far": shown.tar_at_far(made, replicates, why),
        "far_table": None if made is None else made.as_json() | {"photos_of_one": PHOTOS_OF_ONE},
        "check": _check(made, check, replicates, table.photos if table else pairs.photos),
        **promised,
        "why_no_intervals": why,
        "groups": {} if why or not groups else judged.groups(groups, replicates),
        "worst": worst(pairs, embedded, scores),
        "curves": _curve(shown.roc),
        "all_impostors": None if made is None else _all_impostors(made, scores[pairs.same]),
        "histograms": _histograms(scores[seen], pairs.same[seen]),
    }


def _table(sample: Sample, replicates: int) -> FarTable | None:
    impostors = Impostors.of(sample.photos, sample.embedded, PHOTOS_OF_ONE)
    return None if impostors is None else FarTable.of(impostors, replicates)


def _check(
    table: FarTable | None, sample: Sample | None, replicates: int, table_photos: Sequence[Photo]
) -> Json | None:
    impostors = None if sample is None else Impostors.of(sample.photos, sample.embedded)
    if table is None or sample is None or impostors is None:
        return None
    both = {photo.person for photo in sample.photos} & {photo.person for photo in table_photos}
    return far_table.check(table, impostors, replicates) | {"shared_people": len(both)}


def _photos(pairs: Pairs, embedded: Embedded, replicates: int) -> Json:
    known = people_of(pairs.photos)
    count = len(pairs.photos)
    if known is None:
        rate = Interval(float(embedded.found.mean()))
    else:
        found = np.bincount(known[1][embedded.found], minlength=len(known[0]))
        rate = ratio(found.astype(np.float64), np.bincount(known[1]).astype(np.float64), replicates)
    return {
        "photos": count,
        "people": None if known is None else len(known[0]),
        "undetected": int(count - embedded.found.sum()),
        "unreadable": list(embedded.unreadable),
        "several_faces": int((embedded.faces > 1).sum()),
        "detection_rate": rate.as_json(),
    }


def _counts(pairs: Pairs, seen: NDArray[np.bool_]) -> Json:
    return {
        "genuine": int(pairs.same.sum()),
        "impostor": int((~pairs.same).sum()),
        "folds": pairs.folds,
        "with_undetected": int((~seen).sum()),
    }


def _at_eer(roc: Roc) -> float:
    """The threshold of the equal error rate, as a multiple of 1e-4."""
    threshold = roc.threshold(int(roc.crossing()[0]))
    return float(GRID[int(np.clip(round(threshold * STEPS), -STEPS, STEPS)) + STEPS])


def _curve(roc: Roc) -> Json:
    places = corners(roc, POINTS)
    return {
        "far": roc.far[places, 0].tolist(),
        "tar": roc.tar[places, 0].tolist(),
        "thresholds": [roc.threshold(place) for place in places.tolist()],
    }


def _all_impostors(table: FarTable, genuine: NDArray[np.float64]) -> Json:
    """FARs from one pair in all of them to all, evenly on a log scale, and the TAR of the protocol's genuine pairs."""
    shares = table.passing / table.pairs
    wanted = np.geomspace(1 / table.pairs, 1, POINTS)
    places = np.unique(np.searchsorted(-shares, -wanted * (1 + 1e-12)).clip(max=len(GRID) - 1))[::-1]
    return {
        "far": shares[places].tolist(),
        "thresholds": GRID[places].tolist(),
        "tar": [float((genuine >= threshold).mean()) for threshold in GRID[places].tolist()],
    }


def _histograms(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> Json:
    """Pairs with both faces found, by cosine."""
    return {
        "edges": EDGES.tolist(),
        "genuine": np.histogram(scores[same], EDGES)[0].tolist(),
        "impostor": np.histogram(scores[~same], EDGES)[0].tolist(),
    }
