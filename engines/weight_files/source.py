"""Bytes of an untrusted file: what it claims is held against what there is before any memory is set aside."""

from __future__ import annotations

import os
from io import BufferedReader

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelError

Bytes = NDArray[np.uint8]


class Source:
    """An open `file` of `size` bytes, whose position is for anyone to move. Raises ModelError for what lies outside it,
    or changes while it is read."""

    def __init__(self, file: BufferedReader) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self.file = file
        self._left = self.size

    def peek(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on."""
        return self._read(offset, count).tobytes()

    def take(self, offset: int, count: int) -> Bytes:
        """The same as an array of the caller's, aligned for every dtype. The file's bytes can be taken once: more than
        there are, all calls together, is ModelError, so overlapping claims do not fill the memory."""
        self._require(offset, count)
        if count > self._left:
            raise ModelError("is damaged: its parts overlap")
        self._left -= count
        return self._read(offset, count)

    def _require(self, offset: int, count: int) -> None:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise ModelError(
                f"is damaged or cut short: bytes {offset} to {offset + count} of {self.size} are asked for"
            )

    def _read(self, offset: int, count: int) -> Bytes:
        self._require(offset, count)
        data = np.empty(count, np.uint8)
        self.file.seek(offset)
        if self.file.readinto(data.data) != count:
            raise ModelError("changed while it was read")
        return data
