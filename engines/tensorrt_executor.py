"""Runs a plan on one stream of the GPU, with memory of its own and a CUDA graph for each batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import cuda
from engines.base import DeviceError, DeviceLostError, DeviceMemoryError, Tensors, TensorSpec
from engines.cudagraph import CudaGraph, capture
from engines.tensorrt_plan import LoadedPlan, enqueue

BLOCKING_WAIT = True
"""How a thread waits for the GPU: asleep, which costs some 20 µs, or else spinning, which costs a core for each
execution context; the cores are wanted for decoding."""

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: other threads' work on the default stream would spoil a recording


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output for the most rows: page-locked memory of the host, and an address on the GPU."""

    name: str
    host: NDArray[Any]
    address: int


@dataclass(slots=True)
class _Bucket:
    """One batch size. A graph depends on the state of its execution context, which another batch size would change: so
    each has its own, whose shapes and addresses are set once."""

    rows: int
    context: Any
    graph: CudaGraph | None = None
    without_graph: str = ""


class Executor:
    """One line of runs, each of up to as many rows as the plan's profile takes.

    Rows are run in the next larger batch of `plan.buckets`; what is in the rows beyond has no influence. Everything
    belongs to the thread that makes it, which holds the GPU from before to after (`cuda.primary_context`).
    """

    def __init__(self, plan: LoadedPlan, *, graphs: bool) -> None:
        """Allocates all that is ever needed and runs each batch size once. Raises a DeviceError, and keeps nothing,
        where the GPU or its memory does not do. `graphs` False launches kernel by kernel."""
        self.stream: Any = None
        self._done: Any = None
        self._held = ExitStack()
        self._buckets: list[_Bucket] = []
        self._inputs: list[_Tensor] = []
        self._outputs: list[_Tensor] = []
        try:
            with cuda.reported("preparing the network"):
                self._allocate(plan)
                for bucket in self._buckets:
                    self._warm_up(bucket, graphs)
        except BaseException:
            self.close()
            raise

    @property
    def without_graph(self) -> Mapping[int, str]:
        """The batch sizes that have no CUDA graph, and why."""
        return {bucket.rows: bucket.without_graph for bucket in self._buckets if bucket.graph is None}

    def run(self, calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
        """The outputs of each call, in fresh arrays. The calls fit the network, and its profile all together."""
        ends = list(accumulate(len(next(iter(feeds.values()))) for feeds in calls))
        spans = list(pairwise([0, *ends]))
        with cuda.reported("running the network"):
            for feeds, (start, end) in zip(calls, spans, strict=True):
                for tensor in self._inputs:
                    np.copyto(tensor.host[start:end], feeds[tensor.name])
            self._launch(self._bucket(ends[-1]))
            self.wait()
        return [{tensor.name: tensor.host[start:end].copy() for tensor in self._outputs} for start, end in spans]

    @contextmanager
    def repeatable(self, rows: int, *, copies: bool) -> Iterator[Callable[[], None]]:
        """Within the block: a function that puts a run of `rows` rows on the stream, of what was last run; without
        `copies` only the network, from and to the GPU's memory. For measurements."""
        bucket = self._bucket(rows)
        if copies:
            yield partial(self._launch, bucket)
        elif bucket.graph is None:
            yield partial(enqueue, bucket.context, self.stream.handle)
        else:
            graph = capture(self.stream.handle, partial(enqueue, bucket.context, self.stream.handle))
            try:
                yield partial(graph.launch, self.stream.handle)
                self.wait()
            finally:
                graph.close()

    def wait(self) -> None:
        """Returns when the GPU has done all that was put on the stream; other threads run meanwhile."""
        if BLOCKING_WAIT:
            self._done.record(self.stream)
            self._done.synchronize()
        else:
            self.stream.synchronize()

    def close(self) -> None:
        """Frees everything. What a lost GPU does not free goes with the process. May be called again."""
        for bucket in self._buckets:
            if bucket.graph is not None:
                bucket.graph.close()
        self._buckets, self._inputs, self._outputs = [], [], []
        self._held.close()
        self._done = self.stream = None

    def _allocate(self, plan: LoadedPlan) -> None:
        driver = cuda.pycuda()
        self.stream = driver.Stream(_NON_BLOCKING)
        self._done = driver.Event(driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING)
        workspace = self._device_memory(plan.workspace_bytes)
        for rows in plan.buckets:
            self._buckets.append(_Bucket(rows, plan.execution_context(rows, workspace, self.stream.handle)))
        shapes = plan.shapes(self._buckets[-1].context)
        self._inputs = [self._tensor(spec, shapes[spec.name]) for spec in plan.inputs]
        self._outputs = [self._tensor(spec, shapes[spec.name]) for spec in plan.outputs]
        for bucket in self._buckets:
            for tensor in (*self._inputs, *self._outputs):
                bucket.context.set_tensor_address(tensor.name, tensor.address)

    def _tensor(self, spec: TensorSpec, shape: tuple[int, ...]) -> _Tensor:
        host = cuda.pycuda().pagelocked_empty(shape, np.dtype(spec.dtype))
        self._held.callback(host.base.free)
        host.fill(0)
        return _Tensor(spec.name, host, self._device_memory(host.nbytes))

    def _device_memory(self, size_bytes: int) -> int:
        allocation = cuda.pycuda().mem_alloc(max(1, size_bytes))
        self._held.callback(allocation.free)
        return int(allocation)

    def _warm_up(self, bucket: _Bucket, graphs: bool) -> None:
        """TensorRT prepares a batch size in its first run, which cannot be recorded."""
        self._launch(bucket)
        self.wait()
        if not graphs:
            bucket.without_graph = "not asked for"
            return
        try:
            with cuda.reported("recording a CUDA graph"):
                bucket.graph = capture(self.stream.handle, partial(self._launch, bucket))
        except (DeviceLostError, DeviceMemoryError):
            raise
        except DeviceError as error:
            bucket.without_graph = str(error)
        self._launch(bucket)
        self.wait()

    def _bucket(self, rows: int) -> _Bucket:
        return next(bucket for bucket in self._buckets if bucket.rows >= rows)

    def _launch(self, bucket: _Bucket) -> None:
        """Puts one run on the stream, with its copies from and to the host."""
        if bucket.graph is not None:
            bucket.graph.launch(self.stream.handle)
            return
        driver = cuda.pycuda()
        for tensor in self._inputs:
            driver.memcpy_htod_async(tensor.address, tensor.host[: bucket.rows], self.stream)
        enqueue(bucket.context, self.stream.handle)
        for tensor in self._outputs:
            driver.memcpy_dtoh_async(tensor.host[: bucket.rows], tensor.address, self.stream)
