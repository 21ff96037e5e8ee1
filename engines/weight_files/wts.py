"""tensorrtx' text: a line with the count of tensors, then for each its name, its length, and that many float32 as
eight hex digits, the most significant first. Shapes are not kept."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files.source import Source

FIRST = re.compile(rb"\s*(\d{1,9})[ \t\r]*\n\s*")
TENSOR = re.compile(rb"(\S{1,1000})[ \t]+(\d{1,10})[ \t]*")
END = re.compile(rb"[ \t\r]*(\n\s*|\Z)")
DIGITS, WIDTH = 8, 9  # of a number, without and with the space after it
SPACE = ord(" ")
VALUES = np.array(
    [int(chr(byte), 16) if chr(byte) in "0123456789abcdefABCDEF" else 16 for byte in range(256)], np.uint8
)


def read(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays by name, float32, 1-D; see `weight_files.read`."""
    text = source.peek(0, source.size)
    first = FIRST.match(text)
    if first is None:
        raise ModelError("is damaged: its first line is not the count of its tensors")
    arrays: dict[str, NDArray[Any]] = {}
    at = first.end()
    while at < len(text):
        head = TENSOR.match(text, at)
        if head is None:
            raise ModelError(f"is damaged: a line does not start with a name and a length: {text[at : at + 80]!r}")
        name, count = head[1].decode("utf-8", "replace"), int(head[2])
        if name in arrays:
            raise ModelError(f"has two tensors called {name[:80]!r}")
        end = END.match(text, head.end() + max(0, WIDTH * count - 1))
        if end is None or head.end() + WIDTH * count - 1 > len(text):
            raise ModelError(f"is damaged or cut short: {name[:80]!r} does not have {count} numbers of eight digits")
        arrays[name] = _numbers(text, head.end(), count)
        at = end.end()
    if int(first[1]) != len(arrays):
        raise ModelError(f"is damaged or cut short: it has {len(arrays)} tensors, its first line says {int(first[1])}")
    return arrays


def _numbers(text: bytes, start: int, count: int) -> NDArray[np.float32]:
    words = np.zeros(count, np.uint32)
    if count:
        digits: NDArray[np.uint8] = np.ndarray((count, DIGITS), np.uint8, text, start, (WIDTH, 1))
        spaces: NDArray[np.uint8] = np.ndarray(count - 1, np.uint8, text, start + DIGITS, WIDTH)
        if not np.all(spaces == SPACE):
            raise ModelError("is damaged: its numbers are not of eight digits and a space each")
        for column in range(DIGITS):
            values = VALUES[digits[:, column]]
            if np.any(values > 15):
                raise ModelError("is damaged: it has digits that are not hexadecimal")
            words <<= 4
            words |= values
    numbers = words.view(np.float32)
    numbers.flags.writeable = False
    return numbers
