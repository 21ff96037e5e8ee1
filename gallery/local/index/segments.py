"""Rows that never move: an index's embeddings in pieces of a fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.rounding import Kind


class Segment:
    """Room for a fixed number of rows of one kind, of which the first `count` are used; never moved, never grown.

    `born` says which face a row was first filled with. It rises, so that a face is found without a table of all of
    them, unless it was moved since or came out of order.
    """

    def __init__(
        self,
        kind: Kind,
        embeddings: NDArray[Any],
        faces: NDArray[np.int64],
        identities: NDArray[np.int64],
        born: NDArray[np.int64],
        *,
        count: int,
    ) -> None:
        """Columns of equal length, `embeddings` (n, D) as its kind keeps them, held and written to; `born` is not,
        where all rows are used."""
        self.kind = kind
        self.embeddings = embeddings
        self.faces = faces
        self.identities = identities
        self.count = count
        self._born = born
        self._born_count = count

    @classmethod
    def empty(cls, kind: Kind, rows: int, dimension: int) -> Segment:
        # np.empty takes address space only: memory comes with the first write to each page.
        faces, identities, born = (np.empty(rows, np.int64) for _ in range(3))
        return cls(kind, np.empty((rows, dimension), kind.dtype), faces, identities, born, count=0)

    @property
    def room(self) -> int:
        return len(self.faces) - self.count

    def append(self, faces: NDArray[np.int64], identities: NDArray[np.int64], embeddings: NDArray[Any]) -> bool:
        """Whether `find` can tell where they are."""
        first, end = self.count, self.count + len(faces)
        self.faces[first:end] = faces
        self.identities[first:end] = identities
        self.embeddings[first:end] = embeddings
        self.count = end
        last = self._born[first - 1] if first else -1
        if first != self._born_count or faces[0] <= last or (np.diff(faces) <= 0).any():
            return False
        self._born[first:end] = faces
        self._born_count = end
        return True

    def find(self, face: int) -> int | None:
        """The face's row, if it still is where it was first put."""
        if not self._born_count or not self._born[0] <= face <= self._born[self._born_count - 1]:
            return None
        row = int(self._born[: self._born_count].searchsorted(face))
        return row if row < self.count and self._born[row] == face and self.faces[row] == face else None

    def move_last_to(self, row: int) -> None:
        self.count -= 1
        for column in (self.embeddings, self.faces, self.identities):
            column[row] = column[self.count]
            column[self.count] = 0  # a removed embedding does not linger in memory either

    def chosen(self, allowed: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """The rows of the identities that are allowed, in order; None for all rows."""
        if allowed is None:
            return None
        rows = np.flatnonzero(np.isin(self.identities[: self.count], allowed))
        return None if len(rows) == self.count else rows
