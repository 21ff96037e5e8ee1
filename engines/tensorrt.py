"""Runs a canonical network's plan with TensorRT on an NVIDIA GPU, several calls at once."""

from __future__ import annotations

import atexit
import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import tensorrt as trt
from numpy.typing import NDArray

from engines import cuda
from engines.base import DeviceLostError, EngineClosedError, Tensors
from engines.feeds import count_rows
from engines.fingerprint import graph_sha256
from engines.load import LoadOptions
from engines.plans import PlanKey, PlanStore, label_of
from engines.tensorrt_executor import Executor
from engines.tensorrt_plan import LoadedPlan
from engines.tensorrt_timing import rows_a_second, run_times_ms

RUN_ON = "8.6"
"""The version of TensorRT that this code was run on; for later ones only the names it uses were checked."""

T = TypeVar("T")
_log = logging.getLogger("faceserve.tensorrt")


def version() -> str:
    """TensorRT's version, such as `8.6.1`."""
    return str(trt.__version__)


def key_of(path: Path, options: LoadOptions) -> PlanKey:
    """The key of the plan that the canonical network in `path` needs here, with the device, precision and profile of
    `options`. Raises RuntimeMissingError where there is no such GPU."""
    gpu = cuda.gpu(options.device)
    return PlanKey(graph_sha256(path), version(), gpu.name, gpu.capability, options.precision, options.profile)


def open_engine(path: Path, options: LoadOptions) -> TensorRTEngine:
    """The plan of the network in `path` as `options` ask for it (see engines/load.py)."""
    store = PlanStore(options.plans)
    plan = store.find(key_of(path, options), label_of(path))
    return TensorRTEngine(
        store.read(plan), device=options.device, contexts=options.contexts, precision=options.precision
    )


class _Job(Generic[T]):
    """Work for the owner thread that is free next, and in the end its value or its error."""

    def __init__(self, work: Callable[[Executor], T]) -> None:
        self.work = work
        self.value: T
        self.error: Exception | None = None
        self._done = threading.Lock()  # the lightest thing to wait for: taken until the answer is there
        self._done.acquire()

    def done(self) -> None:
        self._done.release()

    def result(self) -> T:
        self._done.acquire()
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            self.error = None  # else the error and its traceback would hold each other, and the feeds, until a gc


class TensorRTEngine:
    """An Engine over one plan, of which `contexts` runs go on at once.

    Each run's execution context, stream and memory have one owner thread, which alone makes, uses and frees them, and
    takes calls from a queue: so `run` may be called from any thread, and `close` is a join. While a network runs for
    one call, the copies of another go on beside it. The arrays that `run` returns are fresh ones; it raises ValueError
    for feeds of a wrong name, dtype, shape or number of rows, and DeviceError (engines/base.py) for the GPU's troubles.
    After a DeviceLostError `fault` says why, and every call raises it.
    """

    def __init__(
        self, plan: bytes, *, device: str = "cuda:0", contexts: int = 2, graphs: bool = True, precision: str = "unknown"
    ) -> None:
        """Loads `plan` on the GPU `device` (`cuda:N`), and runs every batch size once in each execution context.

        `graphs` False launches kernel by kernel in place of CUDA graphs. `precision` is for the description. Raises
        PlanError for a plan that is damaged or was built for something else, RuntimeMissingError where there is no such
        GPU, and DeviceMemoryError where its memory does not do.
        """
        if contexts < 1:
            raise ValueError(f"an engine needs 1 execution context or more, not {contexts}")
        self._device = device
        self._plan = LoadedPlan(plan, device)
        self.inputs, self.outputs = self._plan.inputs, self._plan.outputs
        self.max_batch_size = self._plan.profile.most
        self.concurrency = contexts
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._fault: str | None = None
        self._closed = False
        self._accepting = threading.Lock()  # guards _closed: nothing is put behind the Nones that end the owners
        self._closing = threading.Lock()
        self._owners: list[threading.Thread] = []
        try:
            without_graph = [self._start_owner(graphs) for _ in range(contexts)]
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)
        self.description = {
            "runtime": "tensorrt",
            "version": version(),
            "device": device,
            "gpu": cuda.gpu(device).name,
            "precision": precision,
            "profile": str(self._plan.profile),
            "contexts": str(contexts),
            "cuda_graphs": _describe(self._plan.buckets, without_graph),
        }
        if not version().startswith(RUN_ON + "."):
            self.description["note"] = f"run on TensorRT {RUN_ON} only"

    @property
    def fault(self) -> str | None:
        return self._fault

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        return self.run_each([feeds])[0]

    def run_each(self, calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
        """Several callers' feeds in one run, 1 to `max_batch_size` rows all together; each gets outputs of its own."""
        rows = sum(count_rows(feeds, self.inputs, self.max_batch_size) for feeds in calls)
        if not 1 <= rows <= self.max_batch_size:
            raise ValueError(f"all calls of a run together take 1 to {self.max_batch_size} rows, not {rows}")
        return self._ask(partial(Executor.run, calls=calls))

    def measure(self, rows: int, repeats: int, copies: bool) -> list[float]:
        """ms on the GPU of each of `repeats` runs of `rows` random rows; without `copies` of the network alone."""
        return self._ask(partial(run_times_ms, inputs=self.inputs, rows=rows, repeats=repeats, copies=copies))

    def measure_throughput(self, rows: int, seconds: float, copies: bool) -> float:
        """Rows a second of all execution contexts together, each running batches of `rows` rows for `seconds`.

        Raises threading.BrokenBarrierError when other calls keep one of them busy for too long.
        """
        start = threading.Barrier(self.concurrency)
        work = partial(rows_a_second, inputs=self.inputs, rows=rows, seconds=seconds, copies=copies, start=start)
        jobs = [self._accept(work) for _ in range(self.concurrency)]
        return sum(job.result() for job in jobs)

    def close(self) -> None:
        """Answers the calls accepted so far, then frees everything on the GPU. May be called again."""
        with self._closing:
            with self._accepting:
                if not self._closed:
                    self._closed = True
                    for _ in self._owners:
                        self._jobs.put(None)
            for owner in self._owners:
                owner.join()
            self._plan.close()
        atexit.unregister(self.close)

    def _ask(self, work: Callable[[Executor], T]) -> T:
        return self._accept(work).result()

    def _accept(self, work: Callable[[Executor], T]) -> _Job[T]:
        job = _Job(work)
        with self._accepting:
            if self._closed:
                raise EngineClosedError("the engine was closed; load it again to run it")
            if self._fault is not None:
                raise DeviceLostError(self._fault)
            self._jobs.put(job)
        return job

    def _start_owner(self, graphs: bool) -> Mapping[int, str]:
        """A new owner thread, once it is ready: the batch sizes that have no CUDA graph there, and why."""
        ready: Future[Mapping[int, str]] = Future()
        # a daemon, so that a process that forgot to close the engine ends: it is closed then by atexit
        owner = threading.Thread(target=self._own, args=(ready, graphs), name="tensorrt", daemon=True)
        owner.start()
        self._owners.append(owner)
        return ready.result()

    def _own(self, ready: Future[Mapping[int, str]], graphs: bool) -> None:
        try:
            with cuda.primary_context(self._device):
                try:
                    self._serve(ready, graphs)
                except BaseException as error:
                    _let_go(error)
                    raise
        except BaseException as error:  # noqa: BLE001  (whoever waits for this thread gets it)
            if ready.done():
                _log.error("an execution context was not freed: %s", error)
            else:
                ready.set_exception(error)

    def _serve(self, ready: Future[Mapping[int, str]], graphs: bool) -> None:
        with closing(Executor(self._plan, graphs=graphs)) as executor:
            ready.set_result(executor.without_graph)
            while (job := self._jobs.get()) is not None:
                self._do(job, executor)
                del job  # its feeds are not to live on while the next one is waited for

    def _do(self, job: _Job[Any], executor: Executor) -> None:
        try:
            if self._fault is not None:
                raise DeviceLostError(self._fault)
            job.value = job.work(executor)
        except Exception as error:  # noqa: BLE001  (it belongs to the caller)
            if isinstance(error, DeviceLostError):
                self._fault = str(error)
            _let_go(error)
            job.error = error
        finally:
            job.done()


def _let_go(error: BaseException | None) -> None:
    """Has a traceback hold nothing that is on the GPU, where it would stay until the error is forgotten."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _describe(buckets: Sequence[int], without_graph: Sequence[Mapping[int, str]]) -> str:
    """`1,2,4`, or which batch sizes have no CUDA graph and why."""
    reasons = {rows: reason for each in without_graph for rows, reason in each.items()}
    captured = ",".join(str(rows) for rows in buckets if rows not in reasons)
    if not reasons:
        return captured
    missing, why = ",".join(map(str, sorted(reasons))), next(iter(reasons.values()))
    return f"{captured}; off for {missing}: {why}" if captured else f"off: {why}"
