"""Searching: whom the index finds, and what the database knows of them, as of one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import face_records, records, templates
from gallery.local.index.flat import Hit
from gallery.local.projection import Projections, View
from gallery.local.records import CollectionRow
from gallery.local.selections import Selections
from gallery.local.store import Store
from gallery.local.turns import Turns
from gallery.names import check_embeddings
from gallery.types import (
    CollectionNotFoundError,
    Enrolment,
    GalleryError,
    InvalidEmbeddingError,
    Match,
    ModelMismatchError,
    NewFace,
    Threshold,
)


class _Ask(NamedTuple):
    """What one caller asks of a collection; `embeddings` are as they were given."""

    embeddings: NDArray[np.float32]
    top_k: int
    threshold: Threshold


_Answer = list[list[Match]] | InvalidEmbeddingError | ValueError


@dataclass(frozen=True)
class _Search:
    """The collection, and the index that answers for it: its own, or its templates'."""

    view: View
    row: CollectionRow

    def checked(self, ask: _Ask, identities: int) -> tuple[NDArray[np.float32], float]:
        """The queries, (n, D) float32, and the threshold among so many; raises ValueError and InvalidEmbeddingError."""
        queries = check_embeddings(ask.embeddings, self.row.collection.dimension)
        line = _line(ask.threshold, identities)
        if ask.top_k < 1 or not -1 <= line <= 1:
            raise ValueError(f"top_k is {ask.top_k}, threshold {line}: expected at least 1, and -1 to 1")
        return queries, line

    def checked_or_why(self, ask: _Ask) -> tuple[NDArray[np.float32], float] | InvalidEmbeddingError | ValueError:
        """What is wrong with one is nobody else's."""
        try:
            return self.checked(ask, self.row.collection.identities)
        except (InvalidEmbeddingError, ValueError) as error:
            return error

    def matches(
        self, queries: NDArray[np.float32], top_k: int, line: float, allowed: NDArray[np.int64] | None = None
    ) -> list[list[Match]]:
        """`FlatIndex.search`, with names."""
        found = self.view.index.search(queries, top_k, line, allowed)
        return [[self.match(hit, query) for hit in hits] for hits, query in zip(found, queries, strict=True)]

    def match(self, hit: Hit, query: NDArray[np.float32]) -> Match:
        if self.row.collection.scoring == "mean":
            return templates.match(self.view.connection, hit.identity, hit.similarity, query)
        return face_records.match(self.view.connection, hit.face, hit.similarity)


class Searches:
    """What `Gallery` answers searches with. Any thread may use it.

    Searches of one collection that come together share a transaction and a scan, `at_once` of them at a time: it begins
    after the last of them has come, so nobody's answer is older than the question. Those who filter share a scan only.
    """

    def __init__(self, store: Store, projections: Projections, *, at_once: int = 1) -> None:
        self._at_once = at_once
        self._turns: dict[tuple[str, str], Turns[_Ask, _Answer]] = {}
        self._store = store
        self._projections = projections
        self._selections = Selections()
        self._searched: dict[str, str] = {}  # collection -> whose index answered for it last

    def nearest(
        self,
        collection: str,
        embeddings: NDArray[np.float32],
        *,
        embedder: str,
        top_k: int,
        threshold: Threshold,
        chosen: Filter | None,
    ) -> list[list[Match]]:
        """See `Gallery.search`."""
        ask = _Ask(embeddings, top_k, threshold)
        if chosen is not None:
            self._selections.prepare(self._store, collection, embedder, chosen)
            with self._current(collection, embedder) as search:
                allowed = self._selections.of(search.view.connection, search.row, chosen)
                queries, line = search.checked(ask, len(allowed))
                return search.matches(queries, top_k, line, allowed)
        key = (collection, embedder)
        # What is wrong with one caller's question is an answer: an error of the gallery's is of all who ask.
        turns = self._turns.get(key) or Turns(
            partial(self._together, *key), at_once=self._at_once, everybodys=(GalleryError,)
        )
        try:
            answer = self._turns.setdefault(key, turns)(ask)
        except GalleryError:
            self._turns.pop(key, None)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _together(self, collection: str, embedder: str, asks: Sequence[_Ask]) -> list[_Answer]:
        """Those that ask for as many at the same threshold in one go."""
        answers: list[_Answer] = [[] for _ in asks]
        alike: dict[tuple[int, float], list[tuple[int, NDArray[np.float32]]]] = {}
        with self._current(collection, embedder) as search:
            for number, ask in enumerate(asks):
                checked = search.checked_or_why(ask)
                if isinstance(checked, Exception):
                    answers[number] = checked
                else:
                    alike.setdefault((ask.top_k, checked[1]), []).append((number, checked[0]))
            for (top_k, line), asked in alike.items():
                found = iter(search.matches(np.concatenate([queries for _, queries in asked]), top_k, line))
                for number, queries in asked:
                    answers[number] = [next(found) for _ in queries]
        return answers

    def lookalikes(
        self,
        collection: str,
        enrolled: Enrolment,
        faces: Sequence[NewFace],
        *,
        embedder: str,
        threshold: Threshold,
    ) -> list[Match]:
        """See `Gallery.lookalikes`."""
        with self._current(collection, embedder) as search:
            view, row = search.view, search.row
            queries = check_embeddings(np.stack([face.embedding for face in faces]), row.collection.dimension)
            own = {face_records.owner_of(view.connection, row.key, face.face_id) for face in enrolled.faces}
            line = _line(threshold, row.collection.identities)
            # Of the two nearest one at least is somebody else.
            found = zip(view.index.search(queries, 2, line), queries, strict=True)
            others = [(hit, query) for hits, query in found for hit in hits if hit.identity not in own]
            best: dict[int, tuple[Hit, NDArray[np.float32]]] = {}
            for hit, query in sorted(others, key=lambda other: -other[0].similarity):
                best.setdefault(hit.identity, (hit, query))
            return [search.match(hit, query) for hit, query in best.values()]

    @contextmanager
    def _current(self, name: str, embedder: str) -> Iterator[_Search]:
        """Raises CollectionNotFoundError and ModelMismatchError."""
        while True:
            index = self._searched.get(name)
            if index is None:
                with self._store.read() as connection:
                    index = templates.searched(records.collection(connection, name).made_by(embedder))
            with ExitStack() as stack:
                try:
                    view = stack.enter_context(self._projections.current(index, embedder=embedder))
                except (CollectionNotFoundError, ModelMismatchError):
                    self._searched.pop(name, None)
                    if index == name:
                        raise
                    continue  # to hear it of the collection that was asked for
                row = view.row if index == name else records.collection(view.connection, name)
                self._searched[name] = templates.searched(row)
                if self._searched[name] == index:
                    yield _Search(view, row)
                    return


def _line(threshold: Threshold, identities: int) -> float:
    return threshold(identities) if callable(threshold) else threshold
