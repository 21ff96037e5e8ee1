"""`torch.save` since PyTorch 1.6: a ZIP archive of stored (not compressed) entries, all in one folder.

`data.pkl` is the pickle, `data/<key>` each storage's numbers, `byteorder` (absent before 2.1) theirs.
Of ZIP this reads what PyTorch writes, so what an entry claims to hold is what is there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files import pickles
from engines.weight_files.admitted import SAVE, Storage
from engines.weight_files.dtypes import decode, itemsize
from engines.weight_files.source import Bytes, Source
from engines.weight_files.state_dict import arrays_of

END, CENTRAL, LOCAL = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
MAX_COMMENT = 2**16
MAX_DIRECTORY = 2**23


@dataclass(frozen=True, slots=True)
class Entry:
    """`size` bytes, whose local header is at `offset`; `stored` as they are, or compressed or encrypted."""

    crc: int
    size: int
    offset: int
    stored: bool


def read(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays of the state dict; see `weight_files.read`."""
    entries = dict(_entries(source))
    if any(name.endswith("/constants.pkl") for name in entries):
        raise ModelError(f"is a TorchScript program, whose code is not run: load it with torch.jit.load and {SAVE}")
    folders = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise ModelError("is a ZIP archive, but none that torch.save writes: expected one folder with a data.pkl")
    folder = folders[0]
    pickled, order = entries[f"{folder}/data.pkl"], entries.get(f"{folder}/byteorder")
    if pickled.size > pickles.MAX_BYTES:
        raise ModelError(f"has a pickle of {pickled.size:,} bytes: {SAVE}")
    orders: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}
    named = b"little" if order is None else _content(source, order).tobytes()[:9]
    if named not in orders:
        raise ModelError(f"is damaged: its byte order is {named!r}")
    checkpoint = pickles.load(_content(source, pickled).tobytes()).value
    read_before: dict[Storage, NDArray[Any]] = {}

    def numbers_of(storage: Storage) -> NDArray[Any]:
        if storage not in read_before:
            entry = entries.get(f"{folder}/data/{storage.key}")
            if entry is None or entry.size != storage.count * itemsize(storage.code):
                raise ModelError(f"is damaged: its storage {storage.key[:40]!r} is missing or of another size")
            read_before[storage] = decode(_content(source, entry), storage.code, orders[named])
        return read_before[storage]

    return arrays_of(checkpoint, numbers_of)


def _entries(source: Source) -> Iterator[tuple[str, Entry]]:
    tail = source.peek(start := max(0, source.size - MAX_COMMENT - END.size), source.size - start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END.size > len(tail):
        raise ModelError("is cut short: the archive has no directory")
    *_, size, offset, _ = END.unpack_from(tail, at)
    if size > MAX_DIRECTORY:
        raise ModelError(f"has a directory of {size:,} bytes, more than any state dict's")
    directory, at = source.peek(offset, size), 0
    while at < size:
        if size - at < CENTRAL.size:
            raise ModelError("is damaged: its directory does not end")
        fields = CENTRAL.unpack_from(directory, at)
        magic, flags, method = fields[0], fields[3], fields[4]
        crc, packed, unpacked, name, extra, comment = fields[7:13]
        stored = not method and not flags & 1 and packed == unpacked
        if magic != b"PK\x01\x02":
            raise ModelError("is damaged: its directory is none")
        at += CENTRAL.size
        yield directory[at : at + name].decode("utf-8", "replace"), Entry(crc, packed, fields[-1], stored)
        at += name + extra + comment


def _content(source: Source, entry: Entry) -> Bytes:
    if not entry.stored:
        raise ModelError("is compressed or encrypted, which torch.save does not do: save it again with torch.save")
    header = LOCAL.unpack(source.peek(entry.offset, LOCAL.size))
    if header[0] != b"PK\x03\x04":
        raise ModelError("is damaged: its directory points elsewhere")
    data = source.take(entry.offset + LOCAL.size + header[-2] + header[-1], entry.size)
    if entry.crc and zlib.crc32(data.data) != entry.crc:  # PyTorch can be told to write none: zero
        raise ModelError("is damaged: a checksum does not match")
    return data
