"""Searching: whom the index finds, and what the database knows of them, as of one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import face_records, records, templates
from gallery.local.index import Hit
from gallery.local.projection import Projections, View
from gallery.local.records import CollectionRow
from gallery.local.selections import Selections
from gallery.local.store import Store
from gallery.names import check_embeddings
from gallery.types import CollectionNotFoundError, Enrolment, Match, ModelMismatchError, NewFace, Threshold


@dataclass(frozen=True)
class _Search:
    """The collection, and the index that answers for it: its own, or its templates'."""

    view: View
    row: CollectionRow

    def match(self, hit: Hit, query: NDArray[np.float32]) -> Match:
        if self.row.collection.scoring == "mean":
            return templates.match(self.view.connection, hit.identity, hit.similarity, query)
        return face_records.match(self.view.connection, hit.face, hit.similarity)


class Searches:
    """What `Gallery` answers searches with. Any thread may use it."""

    def __init__(self, store: Store, projections: Projections) -> None:
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
        if chosen is not None:
            self._selections.prepare(self._store, collection, embedder, chosen)
        with self._current(collection, embedder) as search:
            view, about = search.view, search.row.collection
            queries = check_embeddings(embeddings, about.dimension)
            allowed = None if chosen is None else self._selections.of(view.connection, search.row, chosen)
            line = _line(threshold, about.identities if allowed is None else len(allowed))
            if top_k < 1 or not -1 <= line <= 1:
                raise ValueError(f"top_k is {top_k}, threshold {line}: expected at least 1, and -1 to 1")
            found = view.index.search(queries, top_k, line, allowed)
            return [[search.match(hit, query) for hit in hits] for hits, query in zip(found, queries, strict=True)]

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
