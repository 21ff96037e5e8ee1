"""A collection's index as a file: how it is laid out, written, proven, mapped, and how a row leaves it.

A header (magic, CRC, length, JSON), blocks of rows, each of one kind, and a table of CRCs, one for each MiB of blocks.
A block has three columns, each from a whole page on: faces' keys (int64, rising), identities' keys (int64, 0 for a row
that was wiped), and embeddings as the kind keeps them. The file is of this machine: its numbers lie as in memory.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.kinds import KINDS
from gallery.local.index.rounding import Kind
from gallery.local.index.segments import Segment

BLOCK_ROWS = 65_536
"""At most so many rows in a block; with less the header would have no room to tell of them all."""

_PAGE = 4096
_BODY = 2**16
_CHUNK = 2**20
_MAGIC = b"FaceServe rows 2"
_HEAD = struct.Struct("=16sII")


class BadSnapshotError(Exception):
    """The file is damaged, cut short, or none of ours."""


class Block(NamedTuple):
    """So many rows of one kind, and where its columns begin and it ends, in bytes of the file."""

    kind: Kind
    rows: int
    faces: int
    identities: int
    embeddings: int
    end: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a snapshot is of.

    `token` is known to the database that it belongs to; `blocks` are (kind's name, rows); the change log goes on after
    `applied`; what was removed up to change `wiped` was overwritten; `error` and `length` are those of
    `rounding.Rounded`.
    """

    token: str
    collection: int
    embedder: str
    dimension: int
    applied: int
    wiped: int = 0
    blocks: tuple[tuple[str, int], ...] = ()
    error: float = 0.0
    length: float = 0.0

    def laid_out(self) -> Iterator[Block]:
        start = _BODY
        for name, rows in self.blocks:
            kind, column = KINDS[name], _whole_pages(8 * rows)
            end = start + 2 * column + _whole_pages(rows * self.dimension * kind.dtype.itemsize)
            yield Block(kind, rows, start, start + column, start + 2 * column, end)
            start = end

    @property
    def table(self) -> int:
        """Where the blocks end and the table begins."""
        return max((block.end for block in self.laid_out()), default=_BODY)

    @property
    def chunks(self) -> range:
        """Where the pieces of the blocks begin that have a checksum each."""
        return range(_BODY, self.table, _CHUNK)


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def read_stamp(handle: int) -> Stamp:
    """Of an open file; raises BadSnapshotError."""
    page = os.pread(handle, _BODY, 0)
    try:
        magic, checksum, size = _HEAD.unpack_from(page)
        text = page[_HEAD.size : _HEAD.size + size]
        if magic != _MAGIC or zlib.crc32(text) != checksum:
            raise BadSnapshotError("the header is damaged, or of another version")
        read = Stamp(**json.loads(text))
        stamp = replace(read, blocks=tuple((str(name), int(rows)) for name, rows in read.blocks))
        size = stamp.table + 4 * len(stamp.chunks)
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise BadSnapshotError(f"the header cannot be read: {error}") from error
    if os.fstat(handle).st_size != size:
        raise BadSnapshotError("the file is not as long as its header says")
    return stamp


def append(
    handle: int,
    stamp: Stamp,
    kind: Kind,
    faces: NDArray[np.int64],
    identities: NDArray[np.int64],
    embeddings: NDArray[Any],
) -> Stamp:
    """Writes a block behind those there are; the stamp that counts it. Until `finish` the file has no header, and is
    nobody's snapshot."""
    told = replace(stamp, blocks=(*stamp.blocks, (kind.name, len(faces))))
    *_, block = told.laid_out()
    columns: tuple[NDArray[Any], ...] = faces, identities, embeddings
    for column, start in zip(columns, (block.faces, block.identities, block.embeddings), strict=True):
        _write(handle, column.tobytes(), start)
    os.ftruncate(handle, block.end)
    return told


def finish(handle: int, stamp: Stamp) -> None:
    """Computes the checksums, writes the header, and waits until all is on disk."""
    # Read, not mapped: who erases may cut the file short meanwhile, and to touch what is mapped would end the process.
    table = np.array([zlib.crc32(_chunk(handle, stamp, start)) for start in stamp.chunks], np.uint32)
    _write(handle, table.tobytes(), stamp.table)
    _write_header(handle, stamp)
    os.fsync(handle)


def wipe(handle: int, stamp: Stamp, faces: NDArray[np.int64], up_to: int) -> None:
    """Overwrites the rows of those faces that are in the file; on disk when this returns. May be done again.

    A crash on the way leaves a checksum that is wrong, hence a file that is not used.
    """
    touched = set[int]()
    for block in stamp.laid_out():
        keys = np.frombuffer(os.pread(handle, 8 * block.rows, block.faces), np.int64)
        rows = np.flatnonzero(np.isin(keys, faces, assume_unique=True))
        width = stamp.dimension * block.kind.dtype.itemsize
        for column, size in ((block.identities, 8), (block.embeddings, width)):
            for start in (column + size * rows).tolist():
                _write(handle, bytes(size), start)
                touched.update({(start - _BODY) // _CHUNK, (start - _BODY + size - 1) // _CHUNK})
    for number in sorted(touched):
        checksum = zlib.crc32(_chunk(handle, stamp, stamp.chunks[number]))
        _write(handle, struct.pack("=I", checksum), stamp.table + 4 * number)
    _write_header(handle, replace(stamp, wiped=up_to))
    os.fsync(handle)


def _chunk(handle: int, stamp: Stamp, start: int) -> bytes:
    return os.pread(handle, min(_CHUNK, stamp.table - start), start)


def segments(path: Path, rows: int) -> tuple[Stamp, list[Segment]]:
    """The file's rows in segments of at most `rows`, all checksums found right; raises BadSnapshotError and OSError.

    Processes that map one file share its memory, but for the pages they write to; what they write stays their own.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        stamp = read_stamp(handle)
        if not stamp.blocks:
            return stamp, []
        shared = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        own = mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(handle)
    table = np.frombuffer(shared, np.uint32, len(stamp.chunks), stamp.table).tolist()
    body = memoryview(shared)[: stamp.table]
    if any(zlib.crc32(body[at : at + _CHUNK]) != told for at, told in zip(stamp.chunks, table, strict=True)):
        raise BadSnapshotError("a checksum is wrong")
    if hasattr(mmap, "MADV_DONTNEED"):
        shared.madvise(mmap.MADV_DONTNEED)  # of this mapping only the keys are looked at again
    return stamp, [
        segment for block in stamp.laid_out() for segment in _mapped(block, stamp.dimension, shared, own, rows)
    ]


def _mapped(block: Block, dimension: int, shared: mmap.mmap, own: mmap.mmap, rows: int) -> Iterator[Segment]:
    born = np.frombuffer(shared, np.int64, block.rows, block.faces)
    faces = np.frombuffer(own, np.int64, block.rows, block.faces)
    identities = np.frombuffer(own, np.int64, block.rows, block.identities)
    embeddings = np.frombuffer(own, block.kind.dtype, block.rows * dimension, block.embeddings)
    for first in range(0, block.rows, rows):
        at = slice(first, min(first + rows, block.rows))
        some = embeddings.reshape(block.rows, dimension)[at]
        yield Segment(block.kind, some, faces[at], identities[at], born[at], count=at.stop - at.start)


def _write_header(handle: int, stamp: Stamp) -> None:
    text = json.dumps(asdict(stamp)).encode()
    head = _HEAD.pack(_MAGIC, zlib.crc32(text), len(text)) + text
    if len(head) > _BODY:
        raise OSError(f"a snapshot of {len(stamp.blocks)} blocks: its header has no room for them")
    _write(handle, head.ljust(_BODY, b"\0"), 0)


def _write(handle: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(handle, left, offset)
        left, offset = left[written:], offset + written
