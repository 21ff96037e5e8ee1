"""Figures of groups, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from app.evaluation.verification.by_group import Judged
from app.evaluation.verification.pairs import similarities
from tests.app.evaluation.verification.made import embedded_of, pairs_from, photos_of


def test_two_groups_by_hand() -> None:
    """In the plane: a at 0° and 60° (cosine 0.5, which passes at 0.5), b at 0° and 90° (which does not) in one group;
    c at 0° and not found, d at 0° in the other; e is in none."""
    photos = photos_of([2, 2, 2, 1, 1])
    half = np.sqrt(0.75)
    vectors = np.array([[1, 0], [0.5, half], [1, 0], [0, 1], [1, 0], [1, 0], [1, 0], [1, 0]])
    embedded = embedded_of(vectors, np.arange(8) != 5)
    pairs = pairs_from(photos, [(0, 1), (2, 3), (4, 5), (0, 4), (0, 7)])
    judged = Judged(pairs, embedded, similarities(pairs, embedded), 0.5)
    labels = dict(zip([photo.name for photo in photos], "xxxxyyy", strict=False))
    x, y = judged.groups({"kind": labels}, 100)["kind"]
    assert [(each["group"], each["photos"], each["people"], each["genuine"]) for each in (x, y)] == [
        ("x", 4, 2, 2),
        ("y", 3, 2, 1),
    ]
    assert [each["detection_rate"]["value"] for each in (x, y)] == [1, pytest.approx(2 / 3)]
    assert [each["fnmr"]["value"] for each in (x, y)] == [0.5, 1]
    # a and b: 0° with 0°, and 60° with 0° and with 90° pass; 0° with 90° does not. c and d: one pair, which does.
    assert [(each["impostors"], each["fmr"]["value"]) for each in (x, y)] == [(4, 0.75), (1, 1)]
    assert x["why"] == "2 people are too few for intervals"


def test_intervals_are_over_the_people_of_the_group() -> None:
    """30 people, of 10 of whom both photos are alike: an FNMR of 2/3, as wide as the binomial of 30 says."""
    photos = photos_of([2] * 30)
    vectors = np.tile(np.eye(2), (30, 1))
    vectors[1:20:2] = [1, 0]
    embedded = embedded_of(vectors)
    pairs = pairs_from(photos, [(n, n + 1) for n in range(0, 60, 2)])
    judged = Judged(pairs, embedded, similarities(pairs, embedded), 0.5)
    (group,) = judged.groups({"all": {photo.name: "one" for photo in photos}}, 400)["all"]
    spread = 1.96 * np.sqrt(2 / 9 / 30)
    assert group["fnmr"]["value"] == pytest.approx(2 / 3)
    assert group["fnmr"]["low"] == pytest.approx(2 / 3 - spread, abs=0.05)
    assert group["fnmr"]["high"] == pytest.approx(2 / 3 + spread, abs=0.05)
    assert group["fmr"]["low"] < group["fmr"]["value"] < group["fmr"]["high"]
    assert group["why"] is None
