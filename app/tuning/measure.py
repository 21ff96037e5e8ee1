"""Approximate indexes over one collection's rows, against the exact index that would answer instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from app.bench.statistics import Json, Summary, ratios
from app.tuning.questions import Questions
from app.tuning.recall import Recall
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.building import built
from gallery.local.index.flat import FlatIndex
from gallery.local.index.recipe import LEAST_ROWS, Recipe

PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EFFORTS = (16, 32, 64, 128, 256, 512)
_ROUNDS, _SINGLES = 7, 10
_ENOUGH = 0.999
_LEFT = 0.9  # of the rows, at least: the others are asked with


class Contest:
    """The rows in an exact index, and the questions with their exact answers. For one thread.

    Takes the rows once more in memory, a byte a number, and for each index what is told as `mib`.
    """

    def __init__(self, asked: Questions, top_k: int, threshold: float) -> None:
        self._asked, self._top_k, self._threshold = asked, top_k, threshold
        rows = asked.among
        self._exact = FlatIndex(rows.embeddings.shape[1])
        self._exact.add(rows.faces.tolist(), rows.identities.tolist(), rows.embeddings)
        self._whole_rows = 0
        self._truth = self._exact.search(asked.queries, top_k, -1, originals=self._originals)

    def named(self) -> int:
        """How many of the questions are answered with somebody at the threshold."""
        return sum(bool(hits) and hits[0].similarity >= self._threshold for hits in self._truth)

    def exact_ms(self) -> Summary:
        """Of one search, a round of `_SINGLES` at a time."""
        return Summary.of(self._timed(self._exact, number) for number in range(_ROUNDS))

    def measure(self, recipe: Recipe, on_step: Callable[[str], None] = lambda _: None) -> Json:
        """Makes the index and steps through its efforts, its own among them, until hardly anything is lost.

        Raises RecipeError where it does not fit the dimension. `made` is False where there are too few rows.
        """
        dimension = self._asked.queries.shape[1]
        recipe.require_dimension(dimension)
        told: Json = {"index": recipe.factory, "rows": len(self._exact), "least_rows": recipe.least_rows}
        if len(self._exact) < recipe.least_rows:
            return told | {"made": False, "steps": []}
        index = ApproximateIndex(self._exact, recipe, dimension)
        on_step(f"{recipe.factory}: being made")
        begun = time.perf_counter()
        draft = built(index, nullcontext, lambda: True)
        index.take(draft)
        told |= {"made": True, "build_s": time.perf_counter() - begun, "mib": draft.mib, "steps": []}
        for effort in efforts(recipe):
            draft.effort = effort
            step = self._step(index, str(recipe.at(effort)))
            on_step(step["setting"])
            told["steps"].append(step)
            if effort >= recipe.effort and (step["recall_at_k"] or 0) >= _ENOUGH and step["missed"] == 0:
                break
        return told

    def _step(self, index: ApproximateIndex, setting: str) -> Json:
        found = index.search(self._asked.queries, self._top_k, -1, originals=self._originals)
        recall = Recall.of(self._truth, found, self._threshold)
        ours, exact = list[float](), list[float]()
        for number in range(_ROUNDS):
            turns: list[tuple[FlatIndex | ApproximateIndex, list[float]]] = [(self._exact, exact), (index, ours)]
            for each, times in turns[:: -1 if number % 2 else 1]:
                before = self._whole_rows
                times.append(self._timed(each, number))
                if each is index:
                    whole_rows = (self._whole_rows - before) / _SINGLES
        return recall.told() | {
            "setting": setting,
            "ms": asdict(Summary.of(ours)),
            "exact_to_ours": asdict(ratios(exact, ours)),
            "whole_rows": whole_rows,
        }

    def _timed(self, index: FlatIndex | ApproximateIndex, number: int) -> float:
        """Milliseconds of a search as the service does it: one query, the threshold given."""
        queries = self._asked.queries
        places = (np.arange(_SINGLES) + number * _SINGLES) % len(queries)
        begun = time.perf_counter()
        for place in places.tolist():
            index.search(queries[place : place + 1], self._top_k, self._threshold, originals=self._originals)
        return 1e3 * (time.perf_counter() - begun) / _SINGLES

    def _originals(self, faces: Sequence[int]) -> NDArray[np.float32]:
        self._whole_rows += len(faces)
        found: NDArray[np.float32] = self._asked.among.embeddings[self._asked.among.faces.searchsorted(faces)]
        return found


def efforts(recipe: Recipe) -> list[int]:
    """The steps to measure, rising."""
    steps = PROBES if recipe.family == "IVF" else EFFORTS
    most = recipe.parts if recipe.family == "IVF" else max(steps[-1], recipe.effort)
    return sorted({recipe.effort, *(step for step in steps if step <= most)})


def usual(rows: int, dimension: int) -> Iterator[Recipe]:
    """Indexes worth a try for so many rows: lists by the usual 4 √n or as many as can be made, whole bytes or short
    codes, and a graph."""
    lists = 2 ** max(4, round(np.log2(4 * max(rows, 1) ** 0.5)))
    while Recipe("", "IVF", lists, 1).least_rows > max(LEAST_ROWS, _LEFT * rows):
        lists //= 2
    parts = next((parts for parts in (dimension // 8, dimension // 4, 8) if parts > 1 and dimension % parts == 0), None)
    texts = [f"IVF{lists},SQ8", f"IVF{lists},PQ{parts}" if parts else None, "HNSW32,SQ8"]
    yield from (recipe for text in texts if text and (recipe := Recipe.parse(text)))
