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

    That is the checkpoint itself or one of its values: training scripts save `{"state_dict": ..., "epoch": 3}`. A lone
    number beside it is none. Raises ModelError where there is none or more than one.
    """
    if not isinstance(checkpoint, dict):
        raise ModelError(f"is a {type(checkpoint).__name__} and no state dict: {SAVE}")
    found = {str(key): value for key, value in checkpoint.items() if _tensors(value)}
    if any(tensor.shape for tensor in _tensors(checkpoint).values()):
        found[WHOLE] = checkpoint
    if len(found) != 1:
        several = (
            f"has {len(found)} state dicts ({', '.join(name[:40] for name in list(found)[:9])}): save the one to read"
        )
        raise ModelError(f"{several} alone" if found else f"has no tensors: {SAVE}")
    return {
        name: strided(numbers_of(tensor.storage), tensor.offset, tensor.shape, tensor.strides)
        for name, tensor in _tensors(next(iter(found.values()))).items()
    }


def _tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        return {}
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
