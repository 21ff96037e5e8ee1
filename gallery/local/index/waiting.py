"""Rows on their way into a snapshot, until there are enough of a kind for a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.kinds import KINDS, sorted_out
from gallery.local.index.rounding import Kind

Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]


class Waiting:
    """Rounded rows by kind. `error` and `length` are those of `rounding.Rounded`, of all rows ever added."""

    def __init__(self) -> None:
        self.error = self.length = 0.0
        self._pieces: dict[str, list[Columns]] = {name: [] for name in KINDS}

    def add(self, faces: Sequence[int], identities: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """(n, D) float32 rows of unit length."""
        keys, owners = np.array(faces, np.int64), np.array(identities, np.int64)
        for kind, which, rounded in sorted_out(embeddings):
            self.error, self.length = max(self.error, rounded.error), max(self.length, rounded.length)
            self._pieces[kind.name].append((keys[which], owners[which], rounded.rows))

    def blocks(self, most: int, least: int) -> Iterator[tuple[Kind, Columns]]:
        """Faces (n,), identities (n,), kept rows (n, D), in the order of adding, of one kind: taken out as long as
        there are at least `least` of it, at most `most` each time."""
        for name, pieces in self._pieces.items():
            while sum(len(faces) for faces, _, _ in pieces) >= least:
                faces, identities, rows = (np.concatenate(column) for column in zip(*pieces, strict=True))
                pieces[:] = [(faces[most:], identities[most:], rows[most:])] if len(faces) > most else []
                yield KINDS[name], (faces[:most], identities[:most], rows[:most])
