"""Where an engine's rows lie in a slot of shared memory, seen as arrays from either end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelError, TensorSpec
from engines.shared.channel import Channel

_ALIGNMENT = 64

Arrays = dict[str, NDArray[Any]]


class Layout:
    """One block of `rows` rows for each tensor, inputs first; `rows` is what a call may have."""

    def __init__(
        self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, most: int, slot_bytes: int
    ) -> None:
        """At most `most` rows. Raises ModelError for a tensor whose rows have no fixed size or do not fit."""
        self._inputs, self._outputs = inputs, outputs
        specs = (*inputs, *outputs)
        a_row = sum(_row_bytes(spec) for spec in specs)
        self.rows = min(most, (slot_bytes - _ALIGNMENT * len(specs)) // a_row)
        if self.rows < 1:
            raise ModelError(
                f"a row of this network and its answer take {a_row} bytes, but a slot of the engine process has "
                f"{slot_bytes}: make the network's input smaller, or run without an engine process"
            )

    def arrays(self, channel: Channel, slot: int) -> tuple[Arrays, Arrays]:
        """Inputs and outputs of the slot, `rows` rows of each: views of the shared memory."""
        at = channel.data_at(slot)
        arrays: Arrays = {}
        for spec in (*self._inputs, *self._outputs):
            arrays[spec.name] = np.ndarray((self.rows, *_row(spec)), spec.dtype, channel.memory, at)
            at += -(-arrays[spec.name].nbytes // _ALIGNMENT) * _ALIGNMENT
        return (
            {spec.name: arrays[spec.name] for spec in self._inputs},
            {spec.name: arrays[spec.name] for spec in self._outputs},
        )


def _row(spec: TensorSpec) -> tuple[int, ...]:
    sizes = tuple(size for size in spec.shape[1:] if size is not None)
    if len(sizes) < len(spec.shape) - 1:
        raise ModelError(
            f"tensor {spec.name!r} of shape {spec.shape} has rows of no fixed size: run it without an engine process"
        )
    return sizes


def _row_bytes(spec: TensorSpec) -> int:
    return math.prod(_row(spec)) * np.dtype(spec.dtype).itemsize
