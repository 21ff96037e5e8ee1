"""From raw bytes to numbers."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files.source import Bytes

BFLOAT16 = "bfloat16"
"""The upper half of a float32; every other code is NumPy's, without the byte order."""
MAX_AXES = 8


def itemsize(code: str) -> int:
    """Bytes of one number."""
    return 2 if code == BFLOAT16 else np.dtype(code).itemsize


def decode(raw: Bytes, code: str, order: Literal["<", ">"] = "<") -> NDArray[Any]:
    """The numbers in `raw` (whole ones), one after another: 1-D, of the machine's byte order, read-only; bfloat16 as
    float32. May be a view of `raw`. `order`: "<" or ">"."""
    if code == BFLOAT16:
        words = raw.view(f"{order}u2").astype(np.uint32)
        words <<= 16
        numbers: NDArray[Any] = words.view(np.float32)
    elif code == "?":
        numbers = raw != 0
    else:
        numbers = raw.view(np.dtype(code).newbyteorder(order))
        numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    numbers.flags.writeable = False
    return numbers


def strided(numbers: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    """The tensor of this shape in `numbers`, a view; offset and strides count numbers. ModelError where it reaches
    outside, or where two of its elements are the same number: so it never claims more than there is."""
    impossible = (
        f"is damaged: {numbers.size} numbers hold no tensor {shape} with the strides {strides} from {offset} on"
    )
    if len(shape) != len(strides) or len(shape) > MAX_AXES or min((offset, *shape, *strides)) < 0:
        raise ModelError(impossible)
    last = -1 if 0 in shape else 0
    for stride, extent in sorted(pair for pair in zip(strides, shape, strict=True) if pair[1] > 1 and last >= 0):
        if stride <= last:
            raise ModelError(f"has a tensor {shape} whose elements share memory: save it after .contiguous()")
        last += stride * (extent - 1)
    if offset + last >= numbers.size:
        raise ModelError(impossible)
    try:
        steps = [stride * numbers.itemsize for stride in strides]
        tensor: NDArray[Any] = np.ndarray(shape, numbers.dtype, numbers.data, offset * numbers.itemsize, steps)
    except (ValueError, OverflowError) as error:
        raise ModelError(impossible) from error
    return tensor


def shaped(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """All of `numbers` in this shape, a view; ModelError where they do not fill it."""
    impossible = f"is damaged: {numbers.size} numbers are no tensor {shape[: MAX_AXES + 1]}"
    if len(shape) > MAX_AXES or min(shape, default=0) < 0 or prod(shape) != numbers.size:
        raise ModelError(impossible)
    try:
        tensor: NDArray[Any] = numbers.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise ModelError(impossible) from error
    return tensor
