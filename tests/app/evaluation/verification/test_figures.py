"""All figures of a made-up set: the contract's shape, the values by hand, and the same ones each time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.run import Embedded
from app.evaluation.verification import figures
from app.evaluation.verification.generated import pairs_of
from app.evaluation.verification.pairs import Pairs, Sample, Scored, similarities
from tests.app.evaluation.verification.made import embedded_of, faces, pairs_from, photos_of

COUNTS = [4] * 150
PHOTOS = photos_of(COUNTS)


@pytest.fixture(scope="module")
def embedded() -> Embedded:
    return embedded_of(faces(COUNTS, 0.7), np.arange(sum(COUNTS)) % 50 != 7)


@pytest.fixture(scope="module")
def told(embedded: Embedded) -> dict[str, Any]:
    groups = {"half": {photo.name: "even" if int(photo.person or 0) % 2 else "odd" for photo in PHOTOS[:-4]}}
    check = Sample(PHOTOS, embedded_of(faces(COUNTS, 0.7, seed=5)))
    return figures.measure(pairs_of(PHOTOS), embedded, check=check, replicates=100, groups=groups)


def test_the_same_again_and_plain_json(told: dict[str, Any], embedded: Embedded) -> None:
    again = figures.measure(pairs_of(PHOTOS), embedded, replicates=100)
    changed = {"check", "groups"}
    assert {name: told[name] for name in again.keys() - changed} == {
        name: again[name] for name in again.keys() - changed
    }
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_what_the_photos_gave(told: dict[str, Any]) -> None:
    assert (told["photos"], told["people"], told["undetected"], told["several_faces"]) == (600, 150, 12, 0)
    rate = told["detection_rate"]
    assert rate["value"] == 0.98
    assert 0.96 < rate["low"] < 0.98 < rate["high"] < 0.995
    counts = told["pairs"]
    assert counts["genuine"] == counts["impostor"] == 900
    assert counts["folds"] == 10
    assert counts["with_undetected"] > 0


def test_the_parts_fit_together(told: dict[str, Any]) -> None:
    assert told["far_table"]["people"] == 150
    assert told["far_table"]["photos"] == 588
    assert told["thresholds"]["verify"] == next(
        row["threshold"] for row in told["far_table"]["rows"] if row["far"] == 1e-3
    )
    assert len(told["one_to_many"]) == 5
    assert told["check"]["rows"][0]["agrees"]
    assert told["check"]["shared_people"] == 150
    assert 0.9 < told["accuracy"]["mean"] < 1
    assert told["auc"]["low"] < told["auc"]["value"] < told["auc"]["high"]
    assert told["why_no_intervals"] is None


def test_groups_partition_what_they_name(told: dict[str, Any]) -> None:
    even, odd = told["groups"]["half"]
    assert (even["group"], even["photos"], even["people"]) == ("even", 296, 74)
    assert (odd["group"], odd["photos"], odd["people"]) == ("odd", 300, 75)
    assert even["threshold"] == told["thresholds"]["verify"]
    for group in (even, odd):
        assert group["fmr"]["low"] < 3e-3
        assert group["fnmr"]["low"] <= group["fnmr"]["value"] <= group["fnmr"]["high"]
        assert group["why"] is None


def test_curves_and_histograms(told: dict[str, Any]) -> None:
    for curve in (told["curves"], told["all_impostors"]):
        assert len(curve["far"]) == len(curve["tar"]) == len(curve["thresholds"]) <= 500
        assert curve["far"] == sorted(curve["far"])
        assert curve["tar"] == sorted(curve["tar"])
        assert curve["thresholds"] == sorted(curve["thresholds"], reverse=True)
    histograms = told["histograms"]
    counted = sum(histograms["genuine"]) + sum(histograms["impostor"])
    assert counted == 1800 - told["pairs"]["with_undetected"]
    assert len(histograms["edges"]) == len(histograms["genuine"]) + 1


def test_the_worst_mistakes_are_the_worst(told: dict[str, Any], embedded: Embedded) -> None:
    pairs = pairs_of(PHOTOS)
    scores = similarities(pairs, embedded)
    worst = told["worst"]
    assert worst["false_accepts"][0]["similarity"] == np.max(scores[~pairs.same])
    assert worst["false_rejects"][0]["similarity"] == np.min(scores[pairs.same & (scores > -1)])
    assert [len(worst[kind]) for kind in ("false_accepts", "false_rejects")] == [12, 12]
    assert sum(worst["undetected"].values()) == told["pairs"]["with_undetected"]


def test_a_few_pairs_by_hand() -> None:
    """In the plane: a at 0° and 60°, b at 90°, c at 180° and not found. Genuine cos 60° = 0.5; impostors cos 90° = 0,
    cos 30° = 0.87, and -1 for the photo without a face."""
    photos = photos_of([2, 1, 1])
    angles = np.radians([0, 60, 90, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = pairs_from(photos, [(0, 1), (0, 2), (1, 2), (0, 3)])
    embedded = embedded_of(vectors, np.array([True, True, True, False]))
    assert similarities(pairs, embedded) == pytest.approx([0.5, 0, np.sqrt(3) / 2, -1], abs=1e-6)
    told = figures.measure(pairs, embedded, replicates=50)
    assert told["auc"]["value"] == pytest.approx(2 / 3)
    assert told["undetected"] == 1
    assert told["pairs"]["with_undetected"] == 1
    assert told["far_table"]["pairs"] == 2
    assert told["thresholds"] is None
    assert "FAR" in told["why_no_thresholds"]
    assert told["worst"]["false_accepts"][0] == {
        "left": "0000/1",
        "right": "0001/0",
        "similarity": pytest.approx(np.sqrt(3) / 2),
    }
    assert told["worst"]["undetected"] == {"genuine": 0, "impostor": 1}
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_a_set_that_is_parted_perfectly() -> None:
    told = figures.measure(pairs_of(PHOTOS), embedded_of(faces(COUNTS, 0.001, 64)), replicates=50)
    assert told["accuracy"]["mean"] == 1
    assert told["auc"]["value"] == 1
    assert told["eer"]["value"] == 0
    assert told["detection_rate"] == {"value": 1.0, "low": pytest.approx(1 - 3 / 150), "high": 1.0}


def test_a_table_of_its_own_and_a_threshold_chosen_elsewhere(embedded: Embedded) -> None:
    pairs = pairs_of(PHOTOS)
    counts = [1] * 300
    table = Sample(photos_of(counts), embedded_of(faces(counts, 0.7, seed=9)))
    told = figures.measure(
        pairs, embedded, table=table, choose_on=Scored.of("train.txt", pairs, embedded), replicates=20
    )
    assert told["far_table"]["pairs"] == 300 * 299 // 2
    assert told["accuracy"]["chosen_on"] == "train.txt"
    assert len(set(told["accuracy"]["thresholds"])) == 1


def test_a_pack_has_figures_and_says_what_it_lacks() -> None:
    photos = tuple(Photo(f"set/{n:05d}", None, b"") for n in range(8))
    places = np.arange(0, 8, 2, dtype=np.intp)
    same = np.array([True, False, True, False])
    pairs = Pairs(photos, places, places + 1, same, np.arange(4, dtype=np.intp))
    told = figures.measure(pairs, embedded_of(faces([8], 0.5)), groups={"x": {"set/00000": "y"}})
    assert told["people"] is None
    assert told["why_no_intervals"]
    assert told["why_no_thresholds"] == told["why_no_intervals"]
    assert (told["far_table"], told["check"], told["thresholds"], told["groups"]) == (None, None, None, {})
    assert told["auc"]["low"] is None
    assert {row["why"] for row in told["tar_at_far"]} == {told["why_no_intervals"]}
    json.dumps(told, allow_nan=False)


def test_small_groups_say_so() -> None:
    photos = photos_of([3] * 12)
    groups = {"x": {photo.name: "few" if photo.person == "0000" else "more" for photo in photos}}
    told = figures.measure(pairs_of(photos), embedded_of(faces([3] * 12, 0.5)), replicates=20, groups=groups)
    few, more = told["groups"]["x"]
    assert few["why"] == "1 people are too few for intervals"
    assert few["fmr"] == {"value": None, "low": None, "high": None}
    assert (few["people"], few["photos"], few["impostors"]) == (1, 3, 0)
    assert more["fnmr"]["value"] is not None
    assert more["fnmr"]["low"] is None


def test_one_kind_of_pairs_is_not_enough() -> None:
    photos = photos_of([2, 2])
    with pytest.raises(EvaluationError, match="not both"):
        figures.measure(pairs_from(photos, [(0, 1), (2, 3)]), embedded_of(np.eye(4)))


def test_embeddings_of_other_photos_are_refused() -> None:
    with pytest.raises(EvaluationError, match="3 embeddings were given for 4 photos"):
        similarities(pairs_from(photos_of([2, 2]), [(0, 1), (0, 2)]), embedded_of(np.eye(3)))
