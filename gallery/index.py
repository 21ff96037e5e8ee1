"""Exact nearest neighbours by inner product: FAISS over rows this module keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

SEGMENT_ROWS = 65_536
_WIDEN = 4


class Hit(NamedTuple):
    """The best face of one identity. `similarity` is cosine, clipped to [-1, 1]."""

    face: int
    identity: int
    similarity: float


class _Segment:
    """Room for a fixed number of rows, of which the first `count` are used; never moved, never grown.

    np.empty takes address space only: memory comes with the first write to each page.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.embeddings = np.empty((SEGMENT_ROWS, dimension), np.float32)
        self.faces = np.empty(SEGMENT_ROWS, np.int64)
        self.identities = np.empty(SEGMENT_ROWS, np.int64)

    def append(self, faces: NDArray[np.int64], identities: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        end = self.count + len(faces)
        self.faces[self.count : end] = faces
        self.identities[self.count : end] = identities
        self.embeddings[self.count : end] = embeddings
        self.count = end

    def move_last_to(self, row: int) -> None:
        self.count -= 1
        for column in (self.embeddings, self.faces, self.identities):
            column[row] = column[self.count]
            column[self.count] = 0  # a removed embedding does not linger in memory either


class FlatIndex:
    """Embeddings of one collection with the keys of their faces and identities. Every search is exact.

    Several threads may search at once (FAISS lets go of the GIL); whoever adds or removes must be alone.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._segments: list[_Segment] = []
        self._places: dict[int, tuple[_Segment, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, face: int) -> bool:
        return face in self._places

    def add(self, faces: Sequence[int], identities: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Copies (n, dimension) float32 rows of unit length in; none of the faces may be there already."""
        start = 0
        while start < len(faces):
            segment = self._with_room()
            first, end = segment.count, start + min(SEGMENT_ROWS - segment.count, len(faces) - start)
            segment.append(np.array(faces[start:end]), np.array(identities[start:end]), embeddings[start:end])
            self._places.update((face, (segment, first + i)) for i, face in enumerate(faces[start:end]))
            start = end

    def remove(self, face: int) -> None:
        """Overwrites the face's row with its segment's last: no pass over the rest. KeyError if it is not there."""
        segment, row = self._places.pop(face)
        segment.move_last_to(row)
        if row < segment.count:
            self._places[int(segment.faces[row])] = (segment, row)

    def search(self, queries: NDArray[np.float32], top_k: int, threshold: float) -> list[list[Hit]]:
        """For each row of (n, dimension) float32 queries at most `top_k` different identities with a face at or above
        `threshold`, best first."""
        answers: list[list[Hit]] = [[] for _ in queries]
        waiting, width = list(range(len(queries))), top_k
        while waiting:
            similarities, faces, identities = self._nearest(queries[waiting], width)
            unsettled = []
            for query, *columns in zip(waiting, similarities, faces, identities, strict=True):
                answers[query] = _distinct(*columns, top_k=top_k, threshold=threshold)
                seen_all = width >= len(self) or columns[0][-1] < threshold
                if len(answers[query]) < top_k and not seen_all:
                    unsettled.append(query)
            waiting, width = unsettled, width * _WIDEN
        return answers

    def rows(self) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Each row as FAISS sees it: face, identity, (dimension,) embedding, a view that must not be written."""
        for segment in self._segments:
            for row in range(segment.count):
                yield int(segment.faces[row]), int(segment.identities[row]), segment.embeddings[row]

    def _with_room(self) -> _Segment:
        for segment in self._segments:
            if segment.count < SEGMENT_ROWS:
                return segment
        self._segments.append(_Segment(self._dimension))
        return self._segments[-1]

    def _nearest(
        self, queries: NDArray[np.float32], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        # OpenMP keeps this for each thread by itself: set once at import, the other threads would still use all cores.
        faiss.omp_set_num_threads(1)
        similarities = [np.empty((len(queries), 0), np.float32)]
        faces, identities = ([np.empty((len(queries), 0), np.int64)] for _ in range(2))
        for segment in self._segments:
            # Asked for more neighbours than there are rows, FAISS pads with id -1, which would be read as the last row.
            width_here = min(width, segment.count)
            if width_here:
                used = segment.embeddings[: segment.count]
                found, rows = faiss.knn(queries, used, width_here, faiss.METRIC_INNER_PRODUCT)
                similarities.append(found)
                faces.append(segment.faces[rows])
                identities.append(segment.identities[rows])
        joined = np.concatenate(similarities, axis=1)
        best = np.argsort(-joined, axis=1, kind="stable")[:, :width]
        return (
            np.take_along_axis(joined, best, axis=1).clip(-1, 1),
            np.take_along_axis(np.concatenate(faces, axis=1), best, axis=1),
            np.take_along_axis(np.concatenate(identities, axis=1), best, axis=1),
        )


def _distinct(
    similarities: NDArray[np.float32],
    faces: NDArray[np.int64],
    identities: NDArray[np.int64],
    *,
    top_k: int,
    threshold: float,
) -> list[Hit]:
    best: dict[int, Hit] = {}
    for similarity, face, identity in zip(similarities.tolist(), faces.tolist(), identities.tolist(), strict=True):
        if similarity < threshold or len(best) == top_k:
            break
        best.setdefault(identity, Hit(face, identity, similarity))
    return list(best.values())
