"""Which face stands at which number of an index that counts its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GROWTH = 1.25


class Slots:
    """Faces and identities by slot, 0, 1, 2, ...; a slot is never used twice.

    A face is found in the rising column of faces, without a table of all of them; only those that came out of order
    stand in a dictionary. Whoever adds or removes must be alone.
    """

    def __init__(self) -> None:
        self._faces: NDArray[np.int64] = np.empty(0, np.int64)
        self._identities: NDArray[np.int64] = np.empty(0, np.int64)
        self._alive: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._used = 0
        self._dead = 0
        self._risen = 0  # the faces of so many slots, from the first, rise
        self._late: dict[int, int] = {}

    def __len__(self) -> int:
        """How many faces there are."""
        return self._used - self._dead

    @property
    def dead(self) -> int:
        """How many slots had a face that was removed."""
        return self._dead

    def add(self, faces: NDArray[np.int64], identities: NDArray[np.int64]) -> NDArray[np.int64]:
        """The (n,) slots of n new faces, one after the other; none may be there already."""
        start, end = self._used, self._used + len(faces)
        self._reserve(end)
        self._faces[start:end], self._identities[start:end], self._alive[start:end] = faces, identities, True
        last = self._faces[start - 1] if start else -1
        if self._risen == start and (not len(faces) or (faces[0] > last and (np.diff(faces) > 0).all())):
            self._risen = end
        else:
            self._late.update(zip(faces.tolist(), range(start, end), strict=True))
        self._used = end
        return np.arange(start, end)

    def remove(self, face: int) -> int:
        """The slot where the face was. KeyError if it is not there."""
        slot = self.find(face)
        if slot is None:
            raise KeyError(face)
        self._late.pop(face, None)
        self._alive[slot] = False
        self._dead += 1
        return slot

    def find(self, face: int) -> int | None:
        if (slot := self._late.get(face)) is not None:
            return slot
        slot = int(self._faces[: self._risen].searchsorted(face))
        return slot if slot < self._risen and self._faces[slot] == face and self._alive[slot] else None

    def faces(self) -> NDArray[np.int64]:
        """All faces, in the order of their slots; a copy."""
        return self._faces[: self._used][self._alive[: self._used]]

    def of(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Faces and identities of slots in use, copies."""
        return self._faces[slots], self._identities[slots]

    def alive(self) -> NDArray[np.bool_]:
        """For each slot whether there is a face; a view that must not be written."""
        return self._alive[: self._used]

    def whose(self, allowed: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each slot whether there is a face of one of these identities."""
        found: NDArray[np.bool_] = np.isin(self._identities[: self._used], allowed) & self.alive()
        return found

    def _reserve(self, slots: int) -> None:
        if slots > len(self._faces):
            room = max(1024, int(slots * _GROWTH))
            self._faces = _grown(self._faces, room)
            self._identities = _grown(self._identities, room)
            self._alive = np.concatenate([self._alive, np.zeros(room - len(self._alive), np.bool_)])


def _grown(column: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    grown = np.empty(room, np.int64)
    grown[: len(column)] = column
    return grown
