"""The weights among all that a checkpoint may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files.admitted import SAVE, Storage, Tensor
from engines.weight_files.dtypes import strided

WHOLE = "the file itself"


def arrays_of(checkpoint: object, numbers_of: Callable[[Storage], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The tensors of the only state dict in a checkpoint, by name; `numbers_of` gives a storage's numbers, 1-D.

    That is the checkpoint itself or one of its values: training scripts save `{"state_dict": ..., "epoch": 3}`. Lone
    numbers beside it are none. Raises ModelError where there is none or more than one.
    """
    if not isinstance(checkpoint, dict):
        raise ModelError(f"is a {type(checkpoint).__name__} and no state dict: {SAVE}")
    candidates = [*((str(key), _tensors(value)) for key, value in checkpoint.items()), (WHOLE, _tensors(checkpoint))]
    found = [(name, tensors) for name, tensors in candidates if any(tensor.shape for tensor in tensors.values())]
    if not found:
        raise ModelError(f"has no tensors: {SAVE}")
    if len(found) > 1:
        names = ", ".join(name[:40] for name, _ in found[:9])
        raise ModelError(f"has {len(found)} state dicts ({names}): save the one to read alone")
    [(_, tensors)] = found
    return {
        name: strided(numbers_of(tensor.storage), tensor.offset, tensor.shape, tensor.strides)
        for name, tensor in tensors.items()
    }


def _tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        return {}
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
