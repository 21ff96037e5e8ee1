"""A graph's fingerprint from its file alone, without `onnx`: what tells whether a plan is still of this network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

from engines.base import ModelError

# Fields of ONNX's ModelProto as they begin in the file: number << 3 | 2, where 2 says that a length follows.
GRAPH: Final = 7 << 3 | 2
METADATA_PROPS: Final = 14 << 3 | 2

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
VARINT_BYTES: Final = 10


def graph_sha256(path: Path) -> str:
    """SHA-256 in hex of an ONNX file but for its `metadata_props`, so that a new description makes no new network.

    Only the outermost fields are looked at; the bytes are read once and never copied. Raises ModelError for a file
    that cannot be read or is no ONNX model.
    """
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data, memoryview(data) as view:
            return _sha256(view)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is no ONNX model: {error}") from error


def _sha256(data: memoryview) -> str:
    found, has_graph = hashlib.sha256(), False
    for tag, start, end in _fields(data):
        has_graph = has_graph or tag == GRAPH
        if tag != METADATA_PROPS:
            found.update(data[start:end])
    if not has_graph:
        raise ValueError("it has no graph")
    return found.hexdigest()


def _fields(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """The tag of each outermost protobuf field, and where the field with its tag begins and ends."""
    end = 0
    while end < len(data):
        start = end
        tag, end = _varint(data, start)
        kind = tag & 7
        if kind == VARINT:
            _, end = _varint(data, end)
        elif kind == LENGTH:
            length, end = _varint(data, end)
            end += length
        elif kind in (FIXED_64, FIXED_32):
            end += 8 if kind == FIXED_64 else 4
        else:
            raise ValueError(f"nothing known begins at byte {start}")
        if end > len(data):
            raise ValueError("it is cut short")
        yield tag, start, end


def _varint(data: memoryview, start: int) -> tuple[int, int]:
    """The number at `start`, seven bits a byte and the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(data[start : start + VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise ValueError(f"the number at byte {start} has no end")
