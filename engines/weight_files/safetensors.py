"""safetensors: the length of a header as eight little-endian bytes, the header in JSON, the numbers without gaps."""

from __future__ import annotations

import json
from typing import Any

from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files.dtypes import BFLOAT16, decode, itemsize, shaped
from engines.weight_files.source import Source

MAX_HEADER = 2**22
"""A network of 1,000 tensors takes 0.1 MB."""
DTYPES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BF16": BFLOAT16, "BOOL": "?"},
    **{"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"},
}
Claim = tuple[int, int, str, str, tuple[int, ...]]
"""Of one tensor: where it begins and ends, its name, dtype code and shape."""


def read(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays by name, in the order of their numbers; see `weight_files.read`."""
    length = int.from_bytes(source.peek(0, 8), "little")
    if length > MAX_HEADER:
        raise ModelError(f"has a header of {length:,} bytes: at most {MAX_HEADER:,} are read")
    start = at = 8 + length
    arrays = {}
    for begin, end, name, code, shape in sorted(_claims(source.peek(8, length))):
        if start + begin != at or end < begin or (end - begin) % itemsize(code):
            raise ModelError(f"is damaged: the numbers of {name[:80]!r} overlap others, or leave a gap")
        arrays[name] = shaped(decode(source.take(at, end - begin), code), shape)
        at = start + end
    if at != source.size:
        raise ModelError("is damaged or cut short: its numbers do not end where it does")
    return arrays


def _claims(header: bytes) -> list[Claim]:
    try:
        found = json.loads(header.decode(), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise ModelError("is damaged: its header is not JSON") from error
    return [_claim(name, entry) for name, entry in found.items() if name != "__metadata__"]


def _claim(name: str, entry: object) -> Claim:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            if dtype not in DTYPES:
                raise ModelError(f"has the tensor {name[:80]!r} of {dtype[:40]!r}: known are {', '.join(DTYPES)}")
            if all(isinstance(number, int) and 0 <= number < 2**63 for number in (begin, end, *shape)):
                return begin, end, name, DTYPES[dtype], tuple(shape)
    raise ModelError(f"is damaged: its header does not say dtype, shape and place of {name[:80]!r}")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ModelError("is damaged: its header names a tensor twice")
    return found
