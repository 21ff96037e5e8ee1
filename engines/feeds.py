"""The check at an engine's edge: what a caller hands to `run` is what the network takes."""

from __future__ import annotations

from engines.base import Tensors, TensorSpec


def count_rows(feeds: Tensors, inputs: tuple[TensorSpec, ...], max_batch_size: int) -> int:
    """The rows of one call, 1 to `max_batch_size`, once names, dtypes and shapes are those of `inputs`.

    Raises ValueError naming what was given and what was expected.
    """
    if set(feeds) != {spec.name for spec in inputs}:
        raise ValueError(f"the network's inputs are {[spec.name for spec in inputs]}, but {sorted(feeds)} were given")
    for spec in inputs:
        array = feeds[spec.name]
        fits = len(array.shape) == len(spec.shape) and all(
            wanted is None or wanted == given for wanted, given in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != spec.dtype:
            raise ValueError(
                f"input {spec.name!r} must be {spec.dtype} of shape {_show(spec.shape)}, "
                f"not {array.dtype} of shape {_show(array.shape)}"
            )
    counts = {len(feeds[spec.name]) for spec in inputs}
    rows = counts.pop()
    if counts:
        raise ValueError(f"all inputs must have the same number of rows, not {sorted({rows, *counts})}")
    if not 1 <= rows <= max_batch_size:
        raise ValueError(f"a call takes 1 to {max_batch_size} rows, not {rows}: cut it into chunks of {max_batch_size}")
    return rows


def _show(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('N' if size is None else str(size) for size in shape)})"
