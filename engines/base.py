"""The seam between a runtime and everything above it: what a loaded canonical network promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8, BGR everywhere."""

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, NumPy dtype name and shape of one tensor; None in a shape is a free axis (axis 0, the batch, always is)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class EngineError(Exception):
    """Anything an engine could not do. The message says what was asked and how to mend it."""


class RuntimeMissingError(EngineError):
    """The runtime or device asked for is not on this machine."""


class ModelError(EngineError):
    """A model file that is not what it should be: unreadable, not canonical, wrong digest, unknown name."""


class PlanError(ModelError):
    """A plan (a network compiled for one GPU) that is missing, damaged, or made for something else."""


class DeviceError(EngineError):
    """The GPU or its driver refused or failed. The next call may succeed."""


class DeviceMemoryError(DeviceError):
    """The GPU's memory does not hold what was asked for."""


class DeviceLostError(DeviceError):
    """The process's hold on the GPU is beyond repair: only a new process can use it again."""


class EngineBusyError(EngineError):
    """The engine's waiting line is full; try again shortly."""


class EngineClosedError(EngineError):
    """The engine was closed before this call could run."""


class CancelledError(EngineError):
    """The caller left before its rows were run."""


class Engine(Protocol):
    """A loaded canonical network.

    `run` may be called from any thread; the arrays it returns belong to the caller and stay valid after later calls.
    All feeds share the same first axis, 1 to `max_batch_size` rows; a row's answer does not depend on its neighbours.
    `concurrency` is how many calls run well at once; `description` says what really runs (runtime, version, device,
    precision). `fault` is None while the engine can be used, and else says why no call can succeed any more: then the
    process is to be replaced. `close` waits for running calls; `run` after it raises EngineClosedError.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def max_batch_size(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def description(self) -> Mapping[str, str]: ...
    @property
    def fault(self) -> str | None: ...

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]: ...
    def close(self) -> None: ...


@runtime_checkable
class Gathering(Protocol):
    """What an Engine may offer besides: several callers' feeds in one run, without joining and cutting them by copies.

    The calls have 1 to `max_batch_size` rows all together. Each is answered, in order, as `run` answers; what fails one
    fails them all.
    """

    def run_each(self, calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]: ...


_is_cancelled: ContextVar[Callable[[], bool]] = ContextVar("is_cancelled", default=lambda: False)


@contextmanager
def cancellation(is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Within the block, engines may skip this context's calls once `is_cancelled()` is true (see BatchingEngine)."""
    token = _is_cancelled.set(is_cancelled)
    try:
        yield
    finally:
        _is_cancelled.reset(token)


def current_cancellation() -> Callable[[], bool]:
    """The flag set by the nearest `cancellation` block of this context; never cancelled outside one."""
    return _is_cancelled.get()
