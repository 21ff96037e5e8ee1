"""Ranks, FNIR and FPIR by hand, and what must hold for any crowd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.evaluation.identification import figures
from app.evaluation.verification.pairs import Sample
from app.evaluation.wording import Json
from engines.thresholds import FarRow, Thresholds
from tests.app.evaluation.made_up import crowd, embedded, sample

ALICE, BOB, CAROL = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
GALLERY = sample(("alice", ALICE), ("bob", BOB), ("carol", CAROL))
PROBES = sample(
    ("alice", (0.96, 0.28, 0.0)),  # right
    ("alice", (0.28, 0.96, 0.0)),  # taken for bob
    ("bob", (0.0, 0.6, 0.8)),  # carol before him
    ("bob", None),  # not found
    ("dave", (0.8, 0.6, 0.0)),  # a stranger who looks like alice
    ("erin", (-1.0, 0.0, 0.0)),  # a stranger who looks like nobody
)
TABLE = Thresholds(0.5, 1e-3, None, (FarRow(0.5, 1e-2), FarRow(0.7, 3e-3), FarRow(0.9, 1e-3)))


def measure(gallery: Sample, probes: Sample, thresholds: Thresholds | None, **options: Any) -> Json:
    """The figures, with few replicates: their intervals are not what most tests are about."""
    return figures.measure(gallery, probes, thresholds, **{"replicates": 20, **options})


def halves(whole: Sample, each: int, strangers: int) -> tuple[Sample, Sample]:
    """The first photo of each person enrolled, but of the first so many; the others are probes."""
    known = [place for place in range(strangers * each, len(whole.photos)) if place % each == 0]
    others = [place for place in range(len(whole.photos)) if place not in known]
    return tuple(
        Sample(tuple(whole.photos[place] for place in places), embedded(whole.embedded.embeddings[places].tolist()))
        for places in (known, others)
    )  # type: ignore[return-value]


def test_counts_and_ranks_by_hand() -> None:
    told = measure(GALLERY, PROBES, None)
    assert told["gallery"] == {
        "photos": 3, "undetected": 0, "unreadable": [], "several_faces": 0, "identities": 3, "enrolled": 3,
    }  # fmt: skip
    assert (told["probes"]["people"], told["probes"]["with_mate"], told["probes"]["without_mate"]) == (4, 4, 2)
    assert told["probes"]["detection_rate"]["value"] == pytest.approx(5 / 6)
    assert told["rank_1"]["value"] == pytest.approx(1 / 4)
    assert [row["value"] for row in told["cmc"][:3]] == pytest.approx([1 / 4, 3 / 4, 3 / 4])
    assert told["cmc"][-1]["rank"] == 20
    assert told["recommended"] is None


def test_at_the_models_threshold_by_hand() -> None:
    told = measure(GALLERY, PROBES, TABLE)["recommended"]
    assert (told["identities"], told["threshold"], told["far"]) == (3, 0.7, 3e-3)  # ≤ 0.01 / 3
    known, strangers = told["with_mate"], told["without_mate"]
    assert (known["right"]["value"], known["wrong"]["value"], known["no_name"]["value"]) == (0.25, 0.5, 0.25)
    assert (strangers["named"]["value"], strangers["no_name"]["value"]) == (0.5, 0.5)


def test_fpir_sets_the_threshold_and_fnir_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FPIRS", (0.5, 1.0, 0.4))
    half, all_, none = measure(GALLERY, PROBES, None)["open_set"]
    assert half["threshold"] == pytest.approx(0.8)
    assert (half["fpir_found"]["value"], half["fnir"]["value"]) == (0.5, 0.75)
    assert (all_["threshold"], all_["fpir_found"]["value"]) == (pytest.approx(0.0), 1.0)
    assert none["threshold"] == pytest.approx(0.96)  # two fifths of two strangers: nobody, yet alice still is
    assert (none["fpir_found"]["value"], none["fnir"]["value"]) == (0, 0.75)
    assert not none["measurable"]
    assert "2 probes of 2 people" in none["why"]


def test_without_strangers_there_is_no_open_set() -> None:
    told = measure(GALLERY, sample(("alice", ALICE)), TABLE)
    assert told["open_set"][0]["threshold"] is None
    assert "add probes of other people" in told["open_set"][0]["why"]
    assert told["recommended"]["without_mate"]["named"]["value"] is None
    assert told["curves"] is None


def test_the_worst_are_named_with_the_photo_that_was_nearest() -> None:
    worst = measure(GALLERY, PROBES, None)["worst"]
    names = [(row["left"], row["right"]) for row in worst["false_names"]]
    assert names == [("alice/1", "bob/1"), ("bob/2", "carol/2"), ("dave/4", "alice/0"), ("erin/5", "bob/1")]
    assert worst["misses"][0] == {"left": "alice/1", "right": "alice/0", "similarity": pytest.approx(0.28)}
    assert "bob/3" not in {row["left"] for row in worst["misses"]}  # no face: counted, there is nothing to show


def test_a_group_of_everyone_is_everyone() -> None:
    everyone = {photo.name: "all" for photo in PROBES.photos}
    told = measure(GALLERY, PROBES, TABLE, groups={"any": everyone, "some": {"dave/4": "x"}})
    row = told["groups"]["any"][0]
    assert (row["photos"], row["people"]) == (6, 4)
    assert row["rank_1"]["value"] == told["rank_1"]["value"]
    assert row["fpir"]["value"] == told["recommended"]["without_mate"]["named"]["value"]
    assert (row["rank_1"]["low"], row["why"]) == (None, "4 people are too few for intervals")
    assert row["fnir"]["value"] == pytest.approx(1 - told["recommended"]["with_mate"]["right"]["value"])
    alone = told["groups"]["some"][0]
    assert (alone["photos"], alone["fpir"]["value"], alone["rank_1"]["value"]) == (1, 1.0, None)


def test_enough_strangers_make_an_fpir_measurable() -> None:
    gallery, probes = halves(crowd(400, 3), 3, strangers=200)
    row = measure(gallery, probes, None, replicates=200)["open_set"][1]
    assert row["measurable"]
    assert row["fpir_found"]["low"] < row["fpir_found"]["value"] <= 0.1 < row["fpir_found"]["high"] * 1.2
    assert row["fnir"]["low"] <= row["fnir"]["value"] <= row["fnir"]["high"]


def test_between_two_strangers_the_lowest_threshold_counts() -> None:
    """At any cosine above the second stranger's one of two is named; the one that misses least is right beside it."""
    probes = sample(*(("dave", (cosine, (1 - cosine**2) ** 0.5)) for cosine in (0.8, 0.4)), ("alice", (0.6, -0.8)))
    told = measure(sample(("alice", (1.0, 0.0))), probes, None)
    assert told["curves"]["fpir"] == [0.5, 1.0]
    assert told["curves"]["fnir"] == [0.0, 0.0]
    assert told["curves"]["thresholds"] == pytest.approx([0.6, 0.4])


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 12), st.integers(2, 4), st.integers(0, 3), st.floats(0.1, 3), st.integers(0, 99))
def test_what_holds_for_any_crowd(people: int, each: int, strangers: int, spread: float, seed: int) -> None:
    gallery, probes = halves(crowd(people, each, spread=spread, seed=seed), each, min(strangers, people - 1))
    told = measure(gallery, probes, TABLE)
    assert json.loads(json.dumps(told)) == told == measure(gallery, probes, TABLE)
    rates = [row["value"] for row in told["cmc"]]
    assert rates == sorted(rates)
    lows = [row["low"] for row in told["cmc"]]
    assert lows == sorted(lows)
    assert [told["cmc"][0], told["cmc"][4]] == [{"rank": k} | told[f"rank_{k}"] for k in (1, 5)]
    assert rates[-1] == 1 or people > 20
    sums = told["recommended"]
    assert sum(sums["with_mate"][which]["value"] for which in ("right", "wrong", "no_name")) == pytest.approx(1)
    for row in told["open_set"]:
        assert row["fpir_found"]["value"] is None or row["fpir_found"]["value"] <= row["fpir"]
    _check_curve(told["curves"])


def _check_curve(curve: Json | None) -> None:
    if curve:
        assert curve["thresholds"] == sorted(curve["thresholds"], reverse=True)
        assert curve["fpir"] == sorted(curve["fpir"])
        assert curve["fnir"] == sorted(curve["fnir"], reverse=True)
