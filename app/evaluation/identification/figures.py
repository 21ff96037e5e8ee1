"""All figures of an identification run, from what the search of every probe gave.

Names as NIST has them (Grother, Ngan & Hanaoka, FRVT Part 2: Identification, NISTIR 8271): FNIR, the share of probes of
people in the gallery who are not named, or wrongly; FPIR, the share of other probes that are given a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import REPLICATES, Interval, ratio
from app.evaluation.identification.search import Searched, search
from app.evaluation.verification.by_group import FEWEST_PEOPLE
from app.evaluation.verification.pairs import REJECTED, Sample
from app.evaluation.wording import Json
from engines.thresholds import Thresholds

RANKS = 20
FPIRS = (0.01, 0.1)
CURVE_POINTS = 500
WORST = 12
Groups = Mapping[str, Mapping[str, str]]
"""Attribute → name of a probe → the group it is in."""
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of probes with their intervals over the people on them."""

    searched: Searched
    replicates: int

    def of(self, hits: Mask, among: Mask) -> Interval:
        """How many of the probes `among` are `hits` too, both (p,) bool."""
        people = len(self.searched.people)
        below = np.bincount(self.searched.person[among], minlength=people)
        above = np.bincount(self.searched.person[among & hits], minlength=people)
        there = below > 0
        return ratio(above[there].astype(np.float64), below[there].astype(np.float64), self.replicates)


def measure(
    gallery: Sample,
    probes: Sample,
    thresholds: Thresholds | None,
    *,
    replicates: int = REPLICATES,
    groups: Groups | None = None,
) -> Json:
    """The figures as plain values; `thresholds` are the embedder's own. Raises EvaluationError as `search` does."""
    found = search(gallery, probes)
    rates = Rates(found, replicates)
    seen, cmc = probes.embedded.found, _cmc(rates)
    open_set = [_open_set(rates, fpir) for fpir in FPIRS]
    recommended = None if thresholds is None else _recommended(rates, thresholds)
    line = recommended["threshold"] if recommended else open_set[0]["threshold"]
    return {
        "gallery": _photos(gallery) | {"identities": len(found.identities), "enrolled": int(found.enrolled.sum())},
        "probes": _photos(probes)
        | {"people": len(found.people), "with_mate": int(found.mated.sum()), "without_mate": int((~found.mated).sum())}
        | {"detection_rate": rates.of(seen, np.ones_like(seen)).as_json()},
        "rank_1": _without_rank(cmc[0]),
        "rank_5": _without_rank(cmc[4]),
        "cmc": cmc,
        "open_set": open_set,
        "recommended": recommended,
        "groups": {
            name: [_group(rates, probes, line, label, labels) for label in sorted(set(labels.values()))]
            for name, labels in (groups or {}).items()
        },
        "worst": _worst(found, gallery, probes),
        "curves": _curves(found),
    }


def _photos(sample: Sample) -> Json:
    embedded = sample.embedded
    return {
        "photos": len(sample.photos),
        "undetected": int((~embedded.found).sum()),
        "unreadable": list(embedded.unreadable),
        "several_faces": int((embedded.faces > 1).sum()),
    }


def _within(found: Searched, rank: int) -> Mask:
    within: Mask = (found.rank >= 1) & (found.rank <= rank)
    return within


def _cmc(rates: Rates) -> list[Json]:
    """The share of probes with a mate whose mate is among the first k."""
    found = rates.searched
    rows = [{"rank": k} | rates.of(_within(found, k), found.mated).as_json() for k in range(1, RANKS + 1)]
    for before, row in pairwise(rows):
        if before["low"] is not None and row["low"] is not None:  # what a smaller k reaches surely, a larger does too
            row["low"] = max(before["low"], row["low"])
    return rows


def _without_rank(row: Json) -> Json:
    return {name: value for name, value in row.items() if name != "rank"}


def _right(found: Searched, threshold: float) -> Mask:
    """Whose own identity stands first, and at or above the threshold."""
    right: Mask = (found.rank == 1) & (found.mate >= threshold)
    return right


def _open_set(rates: Rates, fpir: float) -> Json:
    """The lowest threshold that names at most a share `fpir` of the probes without a mate, and what it costs."""
    found = rates.searched
    threshold = _line(found, fpir)
    if threshold is None:
        nothing = Interval(None).as_json()
        why = "every probe shows someone of the gallery: add probes of other people"
        return {"fpir": fpir, "threshold": None, "fpir_found": nothing, "fnir": nothing} | _not(why)
    strangers = rates.of(found.other >= threshold, ~found.mated)
    misses = rates.of(~_right(found, threshold), found.mated)
    row = {"fpir": fpir, "threshold": threshold, "fpir_found": strangers.as_json(), "fnir": misses.as_json()}
    if misses.value is None:
        return row | _not("no probe shows anyone of the gallery")
    if strangers.measurable:
        return row | {"measurable": True, "why": None}
    people = np.unique(found.person[~found.mated]).size
    return row | _not(f"{int((~found.mated).sum())} probes of {people} people not in the gallery do not carry it")


def _not(why: str) -> Json:
    return {"measurable": False, "why": why}


def _fpir(found: Searched, thresholds: Floats) -> Floats:
    """(t,) the share of the probes without a mate, one or more, that are named at each threshold."""
    others = np.sort(found.other[~found.mated])
    shares: Floats = 1 - np.searchsorted(others, thresholds, "left") / others.size
    return shares


def _candidates(found: Searched) -> Floats:
    """Rising, the thresholds at which anything changes: all scores that can be named, and one above them all."""
    scores = np.concatenate([found.other[~found.mated], found.mate[found.rank == 1]])
    scores = np.unique(scores[scores > REJECTED])
    return np.append(scores, np.nextafter(scores[-1], 2) if scores.size else 1.0)


def _line(found: Searched, share: float) -> float | None:
    """The lowest threshold that names at most that share of the probes without a mate; None where there are none."""
    if found.mated.all():
        return None
    thresholds = _candidates(found)
    return float(thresholds[np.argmax(_fpir(found, thresholds) <= share)])


def _recommended(rates: Rates, thresholds: Thresholds) -> Json:
    """What the service would do with this gallery: at the threshold that it takes for so many identities."""
    found = rates.searched
    identities = int(found.enrolled.sum())
    choice = thresholds.for_gallery(identities)
    right = _right(found, choice.threshold)
    named = right | (found.other >= choice.threshold)
    return {
        "identities": identities,
        "threshold": choice.threshold,
        "far": choice.far,
        "expected_false_match_rate": choice.expected_false_match_rate,
        "warning": choice.warning,
        "with_mate": {
            "right": rates.of(right, found.mated).as_json(),
            "wrong": rates.of(named & ~right, found.mated).as_json(),
            "no_name": rates.of(~named, found.mated).as_json(),
        },
        "without_mate": {
            "named": rates.of(named, ~found.mated).as_json(),
            "no_name": rates.of(~named, ~found.mated).as_json(),
        },
    }


def _group(rates: Rates, probes: Sample, threshold: float | None, label: str, labels: Mapping[str, str]) -> Json:
    found = rates.searched
    inside = np.array([labels.get(photo.name) == label for photo in probes.photos], np.bool_)
    mated, others = inside & found.mated, inside & ~found.mated
    people = int(np.unique(found.person[inside]).size)
    if people < FEWEST_PEOPLE:
        rates = replace(rates, replicates=0)
    at: Json = {"threshold": None, "fnir": Interval(None).as_json(), "fpir": Interval(None).as_json()}
    if threshold is not None:
        at = {
            "threshold": threshold,
            "fnir": rates.of(~_right(found, threshold), mated).as_json(),
            "fpir": rates.of(found.other >= threshold, others).as_json(),
        }
    return {
        "group": label,
        "photos": int(inside.sum()),
        "people": people,
        "detection_rate": rates.of(probes.embedded.found, inside).as_json(),
        "rank_1": rates.of(found.rank == 1, mated).as_json(),
        "why": f"{people} people are too few for intervals" if people < FEWEST_PEOPLE else None,
    } | at


def _worst(found: Searched, gallery: Sample, probes: Sample) -> Json:
    """The most similar wrong names, and the least similar right ones, each with the photo that was nearest."""
    detected = probes.embedded.found
    wrong = np.flatnonzero((found.best >= 0) & ~(found.mated & (found.rank == 1)))
    missed = np.flatnonzero(found.mated & (found.rank >= 1) & detected)
    wrong = wrong[np.argsort(-found.other[wrong], kind="stable")][:WORST]
    missed = missed[np.argsort(found.mate[missed], kind="stable")][:WORST]
    return {
        "false_names": list(_nearest(gallery, probes, wrong, [found.identities[found.best[row]] for row in wrong])),
        "misses": list(_nearest(gallery, probes, missed, [found.people[found.person[row]] for row in missed])),
    }


def _nearest(gallery: Sample, probes: Sample, rows: NDArray[np.intp], identities: list[str]) -> Iterator[Json]:
    for row, identity in zip(rows.tolist(), identities, strict=True):
        faces = [
            place
            for place, photo in enumerate(gallery.photos)
            if photo.person == identity and gallery.embedded.found[place]
        ]
        cosines = gallery.embedded.embeddings[faces] @ probes.embedded.embeddings[row]
        best = int(cosines.argmax())
        yield {
            "left": probes.photos[row].name,
            "right": gallery.photos[faces[best]].name,
            "similarity": float(np.clip(cosines[best], -1, 1)),
        }


def _curves(found: Searched) -> Json | None:
    """FNIR over FPIR by falling thresholds, for each FPIR above 0 the lowest one; None without both kinds of probes."""
    if found.mated.all() or not found.mated.any():
        return None
    thresholds = _candidates(found)
    values, lowest = np.unique(_fpir(found, thresholds), return_index=True)
    places = lowest[values > 0]
    if len(places) > CURVE_POINTS:  # the fewer are named, the more a point is worth: even steps of a log scale
        places = places[np.unique(np.geomspace(1, len(places), CURVE_POINTS).astype(np.intp) - 1)]
    right = np.sort(np.where(found.rank == 1, found.mate, -np.inf)[found.mated])
    fnir = np.searchsorted(right, thresholds[places], "left") / right.size
    return {
        "fpir": _fpir(found, thresholds[places]).tolist(),
        "fnir": fnir.tolist(),
        "thresholds": thresholds[places].tolist(),
    }
