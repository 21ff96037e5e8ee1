"""The counts of a report against counts made by hand."""

from __future__ import annotations

import pytest

from app.tuning.recall import Recall, lowest
from gallery.local.index.candidates import Hit


def hits(*pairs: tuple[int, float]) -> list[Hit]:
    """(identity, similarity) each; a face's key is of no interest."""
    return [Hit(100 + identity, identity, similarity) for identity, similarity in pairs]


EXACT = [
    hits((1, 0.9), (2, 0.5), (3, 0.2)),  # named, all found
    hits((4, 0.8), (5, 0.7), (6, 0.1)),  # named, the first missed, another first
    hits((7, 0.6), (8, 0.3), (9, 0.3)),  # named, all missed
    hits((1, 0.4), (2, 0.2), (3, 0.1)),  # a stranger: the first is found, another is not
    hits((5, 0.3), (6, 0.2)),  # a stranger, the first missed
    hits((8, 0.5)),  # named just so, found
]
FOUND = [
    hits((1, 0.9), (2, 0.5), (3, 0.2)),
    hits((5, 0.7), (6, 0.1), (1, 0.0)),
    hits(),
    hits((1, 0.4), (3, 0.1), (9, 0.0)),
    hits((6, 0.2), (1, 0.1)),
    hits((8, 0.5), (1, 0.1)),
]


def test_the_counts_are_those_made_by_hand() -> None:
    recall = Recall.of(EXACT, FOUND, threshold=0.5)
    assert recall == Recall(queries=6, first=3, nearest=15, shared=3 + 2 + 0 + 2 + 1 + 1, named=4, same=2)
    told = recall.told()
    assert told["recall_at_1"] == 3 / 6
    assert told["recall_at_k"] == 9 / 15
    assert (told["named"], told["missed"], told["found"]) == (4, 2, 0.5)
    assert told["found_low"] == lowest(2, 4)


def test_of_nothing_there_is_no_share() -> None:
    told = Recall.of([hits()], [hits()], threshold=0.5).told()
    assert (told["recall_at_1"], told["recall_at_k"], told["found"], told["found_low"]) == (1.0, None, None, None)


@pytest.mark.parametrize(
    ("count", "of", "low"),
    # By hand: 1000 of 1000 is 1 / (1 + z²/n) = 1 / 1.0038415; 980 of 1000 (0.9819207 - 0.0088872) / 1.0038415.
    [(1000, 1000, 0.996173), (0, 10, 0.0), (2, 4, 0.150036), (980, 1000, 0.969310)],
)
def test_the_least_share_that_may_be(count: int, of: int, low: float) -> None:
    assert lowest(count, of) == pytest.approx(low, abs=2e-5)
