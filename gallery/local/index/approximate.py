"""Exact rows as ever, and an approximate index over them that only says whom to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.candidates import Hit, Originals, Quest
from gallery.local.index.flat import FlatIndex
from gallery.local.index.kinds import KINDS
from gallery.local.index.proposals import Proposals
from gallery.local.index.recipe import Recipe, RecipeError

log = logging.getLogger("faceserve")

AT_ONCE = 512
"""So many faces more are let into the approximate index while others wait; for more it is put aside first."""
_SPARE, _WIDEN, _WIDEST = 8, 4, 16
_COARSE = 0.1
_FEW_ROWS, _FEW_OF_ALL = 20_000, 8
_DEAD_OF_ALL = 8
_GROWN = 2


class Gap(NamedTuple):
    """What proposals lack, (n,) faces, (n,) identities and (n, D) float32 rows, and whom they hold beyond, (m,)."""

    faces: NDArray[np.int64]
    identities: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    extra: NDArray[np.int64]

    def steps(self, rows: int) -> Iterator[Gap]:
        """The gap in pieces of so many rows, one at least; whom there are beyond goes with the first."""
        for start in range(0, max(1, len(self.faces)), rows):
            here, extra = slice(start, start + rows), self.extra if start == 0 else self.extra[:0]
            yield Gap(self.faces[here], self.identities[here], self.embeddings[here], extra)


class ApproximateIndex:
    """The interface of `FlatIndex`, which keeps the rows and answers by itself until `take` brings proposals.

    From then on proposals name candidates, and the answer is computed from the whole rows as before: similarities,
    order and threshold are exact among the candidates, removed and filtered-out faces are none of them, but somebody
    may be missed. Several threads may search at once; whoever adds, removes or takes must be alone.
    """

    def __init__(self, exact: FlatIndex, recipe: Recipe, dimension: int, source: object = None) -> None:
        """`source` tells whose embeddings these are; proposals are handed on only between equals."""
        self.exact = exact
        self.recipe = recipe
        self.dimension = dimension
        self.source = source
        self._proposals: Proposals | None = None
        self._aside: Proposals | None = None

    def __len__(self) -> int:
        return len(self.exact)

    def __contains__(self, face: int) -> bool:
        return face in self.exact

    @property
    def proposals(self) -> Proposals | None:
        """What names the candidates now; None while the answers are exact."""
        return self._proposals

    @property
    def rounding(self) -> tuple[float, float]:
        """`FlatIndex.rounding`."""
        return self.exact.rounding

    def rows(self) -> Iterator[Any]:
        """`FlatIndex.rows`."""
        return self.exact.rows()

    def columns(self) -> Iterator[Any]:
        """`FlatIndex.columns`."""
        return self.exact.columns()

    def add(self, faces: Sequence[int], identities: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """`FlatIndex.add`. Where many come at once the answers are exact until all are let in, in the background."""
        self.exact.add(faces, identities, embeddings)
        if self._proposals is not None and len(faces) > AT_ONCE:
            self._proposals, self._aside = None, self._proposals
        elif self._proposals is not None:
            self._proposals.add(np.array(faces, np.int64), np.array(identities, np.int64), embeddings)

    def remove(self, face: int) -> None:
        """`FlatIndex.remove`."""
        self.exact.remove(face)
        if self._proposals is not None:
            self._proposals.remove(face)

    def search(
        self,
        queries: NDArray[np.float32],
        top_k: int,
        threshold: float,
        allowed: NDArray[np.int64] | None = None,
        *,
        originals: Originals,
    ) -> list[list[Hit]]:
        """`FlatIndex.search`, but somebody may be missed. Where few rows are allowed, all of them are looked at."""
        chosen = None
        if self._proposals is not None and allowed is not None:
            chosen = self._proposals.slots.whose(allowed)
            if np.count_nonzero(chosen) <= max(_FEW_ROWS, len(self) // _FEW_OF_ALL):
                return self.exact.search(queries, top_k, threshold, allowed, originals=originals)
        if self._proposals is None or not len(self):
            return self.exact.search(queries, top_k, threshold, allowed, originals=originals)
        return self._by_proposals(self._proposals, queries, top_k, threshold, chosen, originals)

    def _by_proposals(
        self,
        proposals: Proposals,
        queries: NDArray[np.float32],
        top_k: int,
        threshold: float,
        chosen: NDArray[np.bool_] | None,
        originals: Originals,
    ) -> list[list[Hit]]:
        error = proposals.error + self.exact.rounding[0]
        quests = [Quest(query, top_k, threshold, error, originals) for query in queries]
        waiting, width = list(range(len(quests))), min(top_k + _SPARE, len(self))
        most = _WIDEST * width
        while waiting:
            unsettled = []
            for number, nearest in zip(waiting, proposals.nearest(queries[waiting], width, chosen), strict=True):
                # A coarse code, whose error is no bound or a wide one, could have a search go on to the last row.
                enough = error > _COARSE and width >= most and len(np.unique(nearest.identities)) >= top_k
                all_seen = enough or width >= len(self) or len(nearest.faces) < width
                if not quests[number].settle(nearest, all_seen=all_seen):
                    unsettled.append(number)
            waiting, width = unsettled, min(width * _WIDEN, len(self))
        return [quest.hits for quest in quests]

    # --- what is made in the background

    @property
    def wants_building(self) -> bool:
        """Whether there are enough rows, and proposals are missing, put aside, outgrown, or full of dead slots."""
        if len(self) < self.recipe.least_rows:
            return False
        here = self._proposals
        if here is None:
            return True
        return len(self) > _GROWN * here.trained_for or here.slots.dead * _DEAD_OF_ALL > len(here) + here.slots.dead

    def proposes_all(self) -> bool:
        """Whether the proposals, where there are any, are of just the faces there are."""
        if self._proposals is None:
            return True
        here = np.concatenate([np.empty(0, np.int64), *(faces for faces, _, _ in self.exact.columns())])
        return bool(np.array_equal(np.sort(here), np.sort(self._proposals.slots.faces())))

    def put_aside(self) -> Proposals | None:
        """Proposals that only lack some rows, for the one who lets those in; they are not used here meanwhile."""
        found, self._aside = self._aside, None
        return found

    def sample(self, rows: int, seed: int = 0) -> NDArray[np.float32]:
        """Up to so many of the rows, drawn at random, (n, D) float32, the caller's own."""
        rng, share = np.random.default_rng(seed), min(1.0, rows / max(1, len(self)))
        drawn = [
            whole(embeddings[np.sort(rng.permutation(len(faces))[: int(np.ceil(share * len(faces)))])])
            for faces, _, embeddings in self.exact.columns()
        ]
        found: NDArray[np.float32] = rng.permutation(np.concatenate(drawn))[:rows]
        return found

    def gap(self, draft: Proposals, most: int) -> Gap:
        """At most `most` rows that the draft lacks, copied; whom it holds beyond, once it lacks no more than that."""
        known = draft.slots.faces()
        lacking: list[tuple[NDArray[Any], ...]] = []
        every, left = [known[:0]], most
        for columns in self.exact.columns():
            which = np.flatnonzero(~np.isin(columns[0], known))[:left]
            lacking.append((columns[0][which], columns[1][which], whole(columns[2][which])))
            every.append(columns[0])
            left -= len(which)
            if not left:
                break
        extra = known[~np.isin(known, np.concatenate(every))] if left else known[:0]
        if not lacking:
            return Gap(known[:0], known[:0], np.empty((0, 0), np.float32), extra)
        faces, identities, embeddings = (np.concatenate(column) for column in zip(*lacking, strict=True))
        return Gap(faces, identities, embeddings, extra)

    def take(self, draft: Proposals) -> bool:
        """Answers by the draft's proposals from now on, brought up to these rows; False where it lacked too many, and
        was put aside."""
        gap = self.gap(draft, AT_ONCE + 1)
        if len(gap.faces) > AT_ONCE:
            self._aside = draft
            return False
        close(gap, draft)
        self._proposals, self._aside = draft, None
        return True

    def inherit(self, other: ApproximateIndex) -> None:
        """Takes over the proposals of an index of the same faces."""
        if other.source != self.source:
            return
        draft = other.put_aside() if other.proposals is None else other.proposals
        if draft is not None:
            self.take(draft)


def over(flat: FlatIndex, recipe: Recipe | None, dimension: int, source: object) -> FlatIndex | ApproximateIndex:
    """The index to use: approximate if there is a recipe that fits, else the exact one itself."""
    if recipe is None:
        return flat
    try:
        recipe.require_dimension(dimension)
    except RecipeError as error:
        log.warning("a collection is searched exactly: %s", error)
        return flat
    return ApproximateIndex(flat, recipe, dimension, source)


def close(gap: Gap, draft: Proposals) -> None:
    """Brings the draft up to the rows that the gap was seen in."""
    for face in gap.extra.tolist():
        draft.remove(face)
    if len(gap.faces):
        draft.add(gap.faces, gap.identities, gap.embeddings)


def whole(rows: NDArray[Any]) -> NDArray[np.float32]:
    """(n, D) rows of one kind as float32, the caller's own."""
    kind = next(kind for kind in KINDS.values() if kind.dtype == rows.dtype)
    scratch = np.empty(rows.shape, np.uint8)
    out = kind.unpacked(np.ascontiguousarray(rows), np.empty(rows.shape, np.float32), scratch)
    out *= kind.scaled(np.ones((1, rows.shape[1]), np.float32))
    return out
