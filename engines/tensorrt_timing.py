"""How long a plan's runs take on the GPU, measured on random rows by the thread that owns an executor."""

from __future__ import annotations

import math
import threading
import time

import numpy as np

from engines import cuda
from engines.base import Tensors, TensorSpec
from engines.tensorrt_executor import Executor

_WARM_UP_RUNS = 5
_RUNS_AHEAD = 4  # so many lie ready on the stream, lest the GPU wait for the host
_PATIENCE_S = 60


def run_times_ms(
    executor: Executor, inputs: tuple[TensorSpec, ...], rows: int, repeats: int, copies: bool
) -> list[float]:
    """ms that each of `repeats` runs takes by the GPU's clock, one right behind the other."""
    driver = cuda.pycuda()
    executor.run([_random(inputs, rows)])
    with cuda.reported("measuring the network"), executor.repeatable(rows, copies=copies) as launch:
        for _ in range(_WARM_UP_RUNS):
            launch()
        executor.wait()
        marks = [(driver.Event(), driver.Event()) for _ in range(repeats)]
        for begin, end in marks:
            begin.record(executor.stream)
            launch()
            end.record(executor.stream)
        executor.wait()
        return [begin.time_till(end) for begin, end in marks]


def rows_a_second(
    executor: Executor,
    inputs: tuple[TensorSpec, ...],
    rows: int,
    seconds: float,
    copies: bool,
    start: threading.Barrier,
) -> float:
    """Rows that come out in each second, of batches of `rows` rows run one right behind the other for `seconds`, from
    when all who measure have come to `start`."""
    try:
        executor.run([_random(inputs, rows)])
        with cuda.reported("measuring the network"), executor.repeatable(rows, copies=copies) as launch:
            launch()
            executor.wait()
            start.wait(_PATIENCE_S)
            begun, done = time.perf_counter(), 0
            while (elapsed := time.perf_counter() - begun) < seconds or not done:
                for _ in range(_RUNS_AHEAD):
                    launch()
                executor.wait()
                done += _RUNS_AHEAD * rows
            return done / elapsed
    except BaseException:
        start.abort()  # else the others would wait for an executor that does not come
        raise


def _random(inputs: tuple[TensorSpec, ...], rows: int) -> Tensors:
    """Rows of random bytes, whatever the dtype; two different ones, since making them is slow."""
    rng = np.random.default_rng(7)
    feeds = {}
    for spec in inputs:
        shape = tuple(size or 1 for size in spec.shape[1:])
        two = rng.integers(0, 256, (2, math.prod(shape)), np.uint8).astype(spec.dtype).reshape(2, *shape)
        feeds[spec.name] = two[np.arange(rows) % 2]
    return feeds
