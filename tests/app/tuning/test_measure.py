"""The contest of indexes on a few rows, and what is made of its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.tuning import report
from app.tuning.measure import Contest, efforts, usual
from app.tuning.questions import questions
from gallery.local.index import recipe as recipe_module
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.recipe import Recipe, RecipeError
from tests.app.tuning.test_questions import crowd


def parsed(text: str) -> Recipe:
    found = Recipe.parse(text)
    assert found
    return found


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> Contest:
    monkeypatch.setattr(recipe_module, "LEAST_ROWS", 100)
    return Contest(questions(crowd(300, 3), 60), top_k=4, threshold=0.5)


def test_each_effort_is_measured_and_all_lists_miss_nobody(contest: Contest) -> None:
    said = list[str]()
    told = contest.measure(parsed("IVF16,SQ8:nprobe=16"), said.append)
    assert told["made"]
    assert told["mib"] > 0
    assert [step["setting"] for step in told["steps"]] == [f"IVF16,SQ8:nprobe={probes}" for probes in (1, 2, 4, 8, 16)]
    assert told["steps"][0]["recall_at_k"] < 0.9
    shares = [step["recall_at_k"] for step in told["steps"]]
    assert shares == sorted(shares)
    last = told["steps"][-1]
    assert (last["recall_at_1"], last["recall_at_k"], last["missed"]) == (1, 1, 0)
    assert last["named"] == contest.named() > 40
    assert last["exact_to_ours"]["rounds"] == 7
    assert said[-1] == "IVF16,SQ8:nprobe=16"


def test_the_share_found_is_that_counted_by_hand(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the rows, with no index: lists are emulated by leaving some people out of what is found."""
    asked = contest._asked
    whole = asked.among.embeddings.astype(np.float64)
    named = first = 0
    for query in asked.queries.astype(np.float64):
        similarities = whole @ query
        named += similarities.max() >= 0.5
        first += similarities.max() >= 0.5 and asked.among.identities[similarities.argmax()] % 10 != 0
    search = ApproximateIndex.search

    def forgetful(self: Any, *arguments: Any, **options: Any) -> Any:
        found = search(self, *arguments, **options)
        return [[hit for hit in hits if hit.identity % 10] for hits in found]

    monkeypatch.setattr(ApproximateIndex, "search", forgetful)
    told = contest.measure(parsed("IVF16,Flat:nprobe=16"))["steps"][-1]
    assert (told["named"], told["missed"]) == (named, named - first)
    assert told["found"] == first / named
    assert 0 < told["missed"] < named


def test_too_few_rows_and_parts_that_do_not_fit(contest: Contest) -> None:
    assert contest.measure(parsed("IVF64,SQ8")) == {
        "index": "IVF64,SQ8",
        "rows": 840,
        "least_rows": 64 * 39,
        "made": False,
        "steps": [],
    }
    with pytest.raises(RecipeError, match="equal parts"):
        contest.measure(parsed("IVF4,PQ7"))


def test_steps_and_usual_indexes() -> None:
    assert efforts(parsed("IVF20,SQ8:nprobe=5")) == [1, 2, 4, 5, 8, 16]
    assert efforts(parsed("HNSW8:efSearch=100")) == [16, 32, 64, 100, 128, 256, 512]
    assert [each.factory for each in usual(100_000, 256)] == ["IVF1024,SQ8", "IVF1024,PQ32", "HNSW32,SQ8"]
    assert [each.factory for each in usual(1_000_000, 512)] == ["IVF4096,SQ8", "IVF4096,PQ64", "HNSW32,SQ8"]
    assert [each.factory for each in usual(12_000, 64)] == ["IVF256,SQ8", "IVF256,PQ8", "HNSW32,SQ8"]  # can be made
    assert [each.factory for each in usual(100, 7)] == ["IVF32,SQ8", "HNSW32,SQ8"]


def step(setting: str, found_low: float, times: float) -> dict[str, Any]:
    return {
        "setting": setting,
        "found": found_low,
        "found_low": found_low,
        "named": 100,
        "missed": 1,
        "exact_to_ours": {"median": times, "low": times, "high": times},
    }


def advised(exact_ms: float, *steps: dict[str, Any]) -> str:
    told = {"exact": {"ms": {"median": exact_ms}}, "indexes": [{"steps": list(steps)}]}
    return report.line(report.recommendation(told, target=0.99, fast_enough_ms=5))


def test_what_is_recommended() -> None:
    good, better, hasty = step("a", 0.995, 3.0), step("b", 0.992, 4.0), step("c", 0.985, 9.0)
    assert advised(50, good, better, hasty).startswith("FACESERVE_INDEX=b: 4.0 times as fast")
    assert advised(5, good, better).startswith("stay exact: an exact search takes 5.00 ms, which is fast enough")
    assert "sure to find 99.00%" in advised(50, hasty)
    assert "1.2 times as fast" in advised(50, step("d", 1.0, 1.2))
    assert "too small" in advised(50)
    assert "is the threshold right?" in advised(
        50, step("e", 0.0, 9.0) | {"named": 0, "found": None, "found_low": None}
    )
