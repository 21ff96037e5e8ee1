"""A collection's index as a file: how it is laid out, written, proven, mapped, and how a row leaves it.

A page of header (magic, CRC, length, JSON), a table of CRCs, one for each MiB of what follows, then three columns, each
from a whole page on: faces' keys (int64, rising), identities' keys (int64, 0 for a row that was wiped), and embeddings
(float16). The file is of this machine: its numbers lie as in memory.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.local.segments import Segment

_PAGE = 4096
_CHUNK = 2**20
_MAGIC = b"FaceServe rows 1"
_HEAD = struct.Struct("=16sII")


class BadSnapshotError(Exception):
    """The file is damaged, cut short, or none of ours."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a snapshot is of.

    `token` is known to the database that it belongs to; `room` rows are laid out and the first `rows` used; the change
    log goes on after `applied`; what was removed up to change `wiped` was overwritten; `error` and `length` are those
    of `gallery.halves.Halves`.
    """

    token: str
    collection: int
    embedder: str
    dimension: int
    room: int
    applied: int
    rows: int = 0
    wiped: int = 0
    error: float = 0.0
    length: float = 0.0

    @property
    def offsets(self) -> tuple[int, int, int, int]:
        """Where faces, identities and embeddings begin, and the end, in bytes from the end of the table."""
        identities = _whole_pages(8 * self.room)
        return 0, identities, 2 * identities, 2 * identities + 2 * self.dimension * self.room

    @property
    def table_bytes(self) -> int:
        return 4 * -(-self.offsets[3] // _CHUNK)

    @property
    def body(self) -> int:
        """Where the columns begin in the file."""
        return _PAGE + _whole_pages(self.table_bytes)


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def read_stamp(handle: int) -> Stamp:
    """Of an open file; raises BadSnapshotError."""
    page = os.pread(handle, _PAGE, 0)
    try:
        magic, checksum, size = _HEAD.unpack_from(page)
        text = page[_HEAD.size : _HEAD.size + size]
        if magic != _MAGIC or zlib.crc32(text) != checksum:
            raise BadSnapshotError("the header is damaged, or of another version")
        stamp = Stamp(**json.loads(text))
    except (struct.error, ValueError, TypeError) as error:
        raise BadSnapshotError(f"the header cannot be read: {error}") from error
    if os.fstat(handle).st_size != stamp.body + stamp.offsets[3] or not 0 <= stamp.rows <= stamp.room:
        raise BadSnapshotError("the file is not as long as its header says")
    return stamp


def begin(handle: int, stamp: Stamp) -> None:
    """Lays out an empty file; until `finish` it has no header, and is nobody's snapshot."""
    os.ftruncate(handle, stamp.body + stamp.offsets[3])


def append(
    handle: int,
    stamp: Stamp,
    faces: NDArray[np.int64],
    identities: NDArray[np.int64],
    embeddings: NDArray[np.float16],
) -> Stamp:
    """Writes rows behind those there are, while there is room; the stamp that counts them."""
    kept = min(len(faces), stamp.room - stamp.rows)
    columns: tuple[tuple[NDArray[Any], int], ...] = (
        (faces, 8),
        (identities, 8),
        (embeddings, 2 * stamp.dimension),
    )
    for (column, width), offset in zip(columns, stamp.offsets[:3], strict=True):
        _write(handle, column[:kept].tobytes(), stamp.body + offset + stamp.rows * width)
    return replace(stamp, rows=stamp.rows + kept)


def finish(handle: int, stamp: Stamp) -> None:
    """Computes the checksums, writes the header, and waits until all is on disk."""
    # Read, not mapped: who erases may cut the file short meanwhile, and to touch what is mapped would end the process.
    chunks = range(0, stamp.offsets[3], _CHUNK)
    table = np.array([zlib.crc32(_chunk(handle, stamp, at)) for at in chunks], np.uint32)
    _write(handle, table.tobytes(), _PAGE)
    _write_header(handle, stamp)
    os.fsync(handle)


def wipe(handle: int, stamp: Stamp, faces: NDArray[np.int64], up_to: int) -> None:
    """Overwrites the rows of those faces that are in the file; on disk when this returns. May be done again.

    A crash on the way leaves a checksum that is wrong, hence a file that is not used.
    """
    keys = np.frombuffer(os.pread(handle, 8 * stamp.rows, stamp.body), np.int64)
    rows = np.flatnonzero(np.isin(keys, faces, assume_unique=True))
    touched = set[int]()
    for column, width in ((1, 8), (2, 2 * stamp.dimension)):
        for start in (stamp.offsets[column] + width * rows).tolist():
            _write(handle, bytes(width), stamp.body + start)
            touched.update({start // _CHUNK, (start + width - 1) // _CHUNK})
    for chunk in sorted(touched):
        checksum = zlib.crc32(_chunk(handle, stamp, chunk * _CHUNK))
        _write(handle, struct.pack("=I", checksum), _PAGE + 4 * chunk)
    _write_header(handle, replace(stamp, wiped=up_to))
    os.fsync(handle)


def _chunk(handle: int, stamp: Stamp, start: int) -> bytes:
    return os.pread(handle, min(_CHUNK, stamp.offsets[3] - start), stamp.body + start)


def segments(path: Path, rows: int) -> tuple[Stamp, list[Segment]]:
    """The file's rows in segments of `rows`, all checksums found right; raises BadSnapshotError and OSError.

    Processes that map one file share its memory, but for the pages they write to; what they write stays their own.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        stamp = read_stamp(handle)
        if not stamp.rows:
            return stamp, []
        size = stamp.body + stamp.offsets[3]
        shared = mmap.mmap(handle, size, access=mmap.ACCESS_READ)
        own = mmap.mmap(handle, size, access=mmap.ACCESS_COPY)
    finally:
        os.close(handle)
    table = np.frombuffer(shared, np.uint32, stamp.table_bytes // 4, _PAGE)
    body = memoryview(shared)[stamp.body :]
    if any(zlib.crc32(body[at * _CHUNK : (at + 1) * _CHUNK]) != checksum for at, checksum in enumerate(table.tolist())):
        raise BadSnapshotError("a checksum is wrong")
    if hasattr(mmap, "MADV_DONTNEED"):
        shared.madvise(mmap.MADV_DONTNEED)  # of this mapping only the keys are looked at again
    starts = [stamp.body + offset for offset in stamp.offsets]
    born = np.frombuffer(shared, np.int64, stamp.rows, starts[0])
    faces = np.frombuffer(own, np.int64, stamp.rows, starts[0])
    identities = np.frombuffer(own, np.int64, stamp.rows, starts[1])
    embeddings = np.frombuffer(own, np.float16, stamp.rows * stamp.dimension, starts[2]).reshape(stamp.rows, -1)
    pieces = [slice(first, min(first + rows, stamp.rows)) for first in range(0, stamp.rows, rows)]
    return stamp, [
        Segment(embeddings[at], faces[at], identities[at], born[at], count=at.stop - at.start) for at in pieces
    ]


def _write_header(handle: int, stamp: Stamp) -> None:
    text = json.dumps(asdict(stamp)).encode()
    _write(handle, (_HEAD.pack(_MAGIC, zlib.crc32(text), len(text)) + text).ljust(_PAGE, b"\0"), 0)


def _write(handle: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(handle, left, offset)
        left, offset = left[written:], offset + written
