"""Exact nearest neighbours by inner product: FAISS over rows this module keeps in fewer bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from gallery.local.index import rounding
from gallery.local.index.candidates import Hit, Nearest, Originals, Quest
from gallery.local.index.kinds import sorted_out
from gallery.local.index.quarters import QUARTERS
from gallery.local.index.rounding import Kind
from gallery.local.index.scan import Scan
from gallery.local.index.segments import Segment
from gallery.local.turns import Turns

__all__ = ["SEGMENT_ROWS", "FlatIndex", "Hit", "Originals"]

SEGMENT_ROWS = 65_536
# So many neighbours first that hardly anybody has to be asked again: FAISS's time hardly depends on it.
_FIRST, _SPARE = 4, 60
_WIDEN = 16
# From so many on, one product of matrices is faster than a scan for each.
_TOGETHER = 12

_Found = tuple[NDArray[np.float32], NDArray[np.int64]]


class _Asked(NamedTuple):
    """Queries (n, D) for the `width` nearest each, among those of at least `least`, (n,), by approximate similarity."""

    queries: NDArray[np.float32]
    width: int
    least: NDArray[np.float64]
    allowed: NDArray[np.int64] | None


class FlatIndex:
    """Embeddings of one collection, rounded to a byte a number, or two, with the keys of their faces and identities.

    Every search is exact: what the rounding could have changed is computed again from the whole rows. Several threads
    may search at once; whoever adds or removes must be alone. At most `at_once` threads scan at a time, each for those
    who came meanwhile too.
    """

    def __init__(self, dimension: int, *, at_once: int = 1) -> None:
        self._dimension = dimension
        self._room = SEGMENT_ROWS
        self._segments: list[Segment] = []
        self._moved: dict[int, int] = {}  # places of the faces that are not where they were first put
        self._count = 0
        self._error = self._length = 0.0
        self._turns = Turns(self._nearest_of_all, at_once=at_once)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, face: int) -> bool:
        return self._find(face) is not None

    def add(self, faces: Sequence[int], identities: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Rounds (n, dimension) float32 rows of unit length in; none of the faces may be there already."""
        keys, owners = np.array(faces, np.int64), np.array(identities, np.int64)
        for kind, which, rounded in sorted_out(embeddings) if len(keys) else ():
            self._error, self._length = max(self._error, rounded.error), max(self._length, rounded.length)
            self._fill(kind, keys[which], owners[which], rounded.rows)

    def _fill(self, kind: Kind, faces: NDArray[np.int64], identities: NDArray[np.int64], rows: NDArray[Any]) -> None:
        start = 0
        while start < len(faces):
            number = self._with_room(kind)
            segment = self._segments[number]
            first, end = segment.count, start + min(segment.room, len(faces) - start)
            if not segment.append(faces[start:end], identities[start:end], rows[start:end]):
                place = number * self._room + first
                self._moved.update(zip(faces[start:end].tolist(), range(place, place + end - start), strict=True))
            start = end
        self._count += len(faces)

    def adopt(self, segments: Sequence[Segment], *, error: float, length: float) -> None:
        """Takes segments of rows rounded before into an empty index. `error` and `length` are those of
        `rounding.Rounded`. The segments are the index's from now on."""
        if self._segments or any(len(segment.faces) > self._room for segment in segments):
            raise ValueError(f"an empty index takes segments of at most {self._room} rows")
        self._segments = list(segments)
        self._count = sum(segment.count for segment in segments)
        self._error, self._length = error, length

    @property
    def rounding(self) -> tuple[float, float]:
        """At least each row's distance from its whole row, and at least each row's length."""
        return self._error, self._length

    def remove(self, face: int) -> None:
        """Overwrites the face's row with its segment's last: no pass over the rest. KeyError if it is not there."""
        place = self._find(face)
        if place is None:
            raise KeyError(face)
        number, row = divmod(place, self._room)
        segment = self._segments[number]
        self._moved.pop(face, None)
        segment.move_last_to(row)
        self._count -= 1
        if row < segment.count:
            self._moved[int(segment.faces[row])] = place

    def search(
        self,
        queries: NDArray[np.float32],
        top_k: int,
        threshold: float,
        allowed: NDArray[np.int64] | None = None,
        *,
        originals: Originals,
    ) -> list[list[Hit]]:
        """For each row of (n, dimension) float32 queries at most `top_k` different identities with a face at or above
        `threshold`, best first; of the identities whose keys are `allowed` alone, where that is given.

        `originals` gives the whole rows, (m, dimension) float32, of m faces of the index. It is asked for the few whose
        similarity must be computed in full; similarities are computed in float64, and of equals the first enrolled is
        first.
        """
        errors = rounding.bounds(queries, QUARTERS.apart(queries), self._error, self._length).tolist()
        quests = [
            Quest(query, top_k, threshold, error, originals) for query, error in zip(queries, errors, strict=True)
        ]
        waiting, width = list(range(len(quests))), _FIRST * top_k + _SPARE
        while waiting:
            least = np.array([quests[number].least for number in waiting])
            found = self._turns(_Asked(queries[waiting], width, least, allowed))
            waiting = [
                number
                for number, nearest in zip(waiting, found, strict=True)
                if not quests[number].settle(nearest, all_seen=len(nearest.faces) < width)
            ]
            width *= _WIDEN
        return [quest.hits for quest in quests]

    def rows(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Each row as it is kept: face, identity, (dimension,) embedding, a view that must not be written."""
        for segment in self._segments:
            for row in range(segment.count):
                yield int(segment.faces[row]), int(segment.identities[row]), segment.embeddings[row]

    def columns(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """`rows` in pieces: faces (n,), identities (n,), embeddings (n, dimension), views that must not be written."""
        for segment in self._segments:
            used = slice(segment.count)
            yield segment.faces[used], segment.identities[used], segment.embeddings[used]

    def _find(self, face: int) -> int | None:
        if (place := self._moved.get(face)) is not None:
            return place
        for number, segment in enumerate(self._segments):
            if (row := segment.find(face)) is not None:
                return number * self._room + row
        return None

    def _with_room(self, kind: Kind) -> int:
        for number, segment in enumerate(self._segments):
            if segment.kind is kind and segment.room:
                return number
        self._segments.append(Segment.empty(kind, self._room, self._dimension))
        return len(self._segments) - 1

    def _nearest_of_all(self, batch: Sequence[_Asked]) -> list[list[Nearest]]:
        """Those that look at all rows in one go."""
        everywhere = [asked for asked in batch if asked.allowed is None]
        together = _Asked(
            np.concatenate([asked.queries for asked in everywhere] or [np.empty((0, self._dimension), np.float32)]),
            max((asked.width for asked in everywhere), default=1),
            np.concatenate([asked.least for asked in everywhere] or [np.empty(0)]),
            None,
        )
        found = iter(self._nearest(together))
        return [
            [next(found).first(asked.width) for _ in asked.queries] if asked.allowed is None else self._nearest(asked)
            for asked in batch
        ]

    def _nearest(self, asked: _Asked) -> list[Nearest]:
        find = self._by_product if len(asked.queries) >= _TOGETHER else self._by_scan
        return [self._named(*found) for found in find(asked)] if len(asked.queries) else []

    def _by_product(self, asked: _Asked) -> list[_Found]:
        scan = Scan(asked.queries, asked.width, asked.least)
        for number, segment in enumerate(self._segments):
            chosen = segment.chosen(asked.allowed)
            if chosen is None:
                scan.show(segment.kind, segment.embeddings[: segment.count], number * self._room)
            elif len(chosen):
                scan.show(segment.kind, segment.embeddings[chosen], number * self._room, chosen)
        return scan.nearest()

    def _by_scan(self, asked: _Asked) -> list[_Found]:
        # OpenMP keeps this for each thread by itself: set once at import, the other threads would still use all cores.
        faiss.omp_set_num_threads(1)
        found: list[list[_Found]] = [[] for _ in asked.queries]
        for number, segment in enumerate(self._segments):
            chosen = segment.chosen(asked.allowed)
            embeddings = segment.embeddings[: segment.count] if chosen is None else segment.embeddings[chosen]
            # Asked for more neighbours than there are rows, FAISS pads with id -1, which would be read as the last row.
            if width := min(asked.width, len(embeddings)):
                queries, factors = segment.kind.coded(asked.queries)
                similarities, rows = _faiss_over(segment.kind, embeddings).search(queries, width)
                similarities *= factors[:, np.newaxis]
                rows = number * self._room + (rows if chosen is None else chosen[rows])
                for each, one, places in zip(found, similarities, rows, strict=True):
                    each.append((one, places))
        return [_joined(pieces, asked.width, least) for pieces, least in zip(found, asked.least, strict=True)]

    def _named(self, similarities: NDArray[np.float32], places: NDArray[np.int64]) -> Nearest:
        numbers, rows = np.divmod(places, self._room)
        faces, identities = np.empty_like(places), np.empty_like(places)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            faces[here] = self._segments[number].faces[rows[here]]
            identities[here] = self._segments[number].identities[rows[here]]
        return Nearest(similarities, faces, identities)


def _faiss_over(kind: Kind, embeddings: NDArray[Any]) -> faiss.IndexScalarQuantizer:
    """FAISS's scan of rows where they lie; the rows must outlive it."""
    quantizer = getattr(faiss.ScalarQuantizer, kind.codes)
    index = faiss.IndexScalarQuantizer(embeddings.shape[1], quantizer, faiss.METRIC_INNER_PRODUCT)
    codes: Any = index.codes
    start = faiss.swig_ptr(embeddings.view(np.uint8))
    codes.is_owned = False
    codes.view_data = codes.c_ptr = start
    codes.view_size = codes.c_size = embeddings.nbytes
    index.ntotal = len(embeddings)
    return index


def _joined(pieces: Sequence[_Found], width: int, least: float) -> _Found:
    """The best `width` of what the segments gave, of at least `least`, best first."""
    similarities = np.concatenate([np.empty(0, np.float32), *(one for one, _ in pieces)])
    places = np.concatenate([np.empty(0, np.int64), *(places for _, places in pieces)])
    order = np.argsort(-similarities, kind="stable")[:width]
    order = order[similarities[order] >= least]
    return similarities[order], places[order]
