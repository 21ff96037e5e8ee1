"""`python -m app.bench.engines.child OPTIONS`: our engines' side, ONNX Runtime or TensorRT, in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from app.bench.engines.options import EngineOptions
from app.bench.statistics import Json
from engines.base import DeviceLostError, Engine, EngineError, RuntimeMissingError, Tensors

WARM_S, WARM_RUNS = 0.5, 3
FEWEST, MOST = 3, 10_000
LONGEST_ON_CPU_S = 2.0


class Contest:
    """One network at a time, at one batch size."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._engine: Engine | None = None
        self._feeds: Tensors = {}
        self._batch = 0

    def here(self) -> Json:
        """What the runtime is; raises RuntimeMissingError when it cannot run on this machine."""
        if self._options.runtime == "tensorrt":
            from app.bench.engines.narrow import here

            return here(self._options)
        return {"runtime": self._options.runtime}

    def open(self, file: Path, batch: int) -> Json:
        """Loads the network for exactly `batch` rows and warms it."""
        self.close()
        self._engine, facts = self._load(file, batch)
        random = np.random.default_rng(0)
        self._batch = batch
        self._feeds = {
            spec.name: random.integers(0, 256, (batch, *[size or 1 for size in spec.shape[1:]]), np.uint8)
            for spec in self._engine.inputs
        }
        description = dict(self._engine.description)
        if description["device"] == "cpu" and (whole_s := self._cost_s()) > LONGEST_ON_CPU_S:
            self.close()
            return {"left_out": f"a run would take about {whole_s:.0f} s on the CPU"}
        spans(self._call, WARM_S, WARM_RUNS)
        return {"description": description, "facts": facts}

    def turn(self, seconds: float) -> Json:
        """Milliseconds of each run and images/s, by each way of measuring that the runtime has."""
        if self._options.runtime == "tensorrt":
            return self._tensorrt_turn(seconds)
        calls_ms = spans(self._call, seconds)
        return {"latencies_ms": {"call": calls_ms}, "images_per_s": {"call": self._rate(calls_ms)}}

    def close(self) -> None:
        """Frees the network."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def _load(self, file: Path, batch: int) -> tuple[Engine, Json]:
        if self._options.runtime == "tensorrt":
            from app.bench.engines.narrow import open_narrow

            return open_narrow(file, batch, self._options)
        from engines.onnxruntime import OnnxRuntimeEngine

        try:
            return OnnxRuntimeEngine(file, device=self._options.device, max_batch_size=batch), {}
        except RuntimeMissingError:
            return OnnxRuntimeEngine(file, device="cpu", max_batch_size=batch), {}

    def _cost_s(self) -> float:
        """About what a run takes on a CPU, where rows cost the same together as apart."""
        assert self._engine is not None
        one = {name: array[:1] for name, array in self._feeds.items()}
        self._engine.run(one)
        since = time.perf_counter()
        self._engine.run(one)
        return self._batch * (time.perf_counter() - since)

    def _call(self) -> None:
        assert self._engine is not None
        self._engine.run(self._feeds)

    def _tensorrt_turn(self, seconds: float) -> Json:
        """A sixth of the time for each: without copies, with copies and from call to answer, one run at a time and as
        many at once as there are contexts."""
        engine: Any = self._engine
        part_s = seconds / 6
        once_ms = float(np.median(engine.measure(self._batch, FEWEST, False)))
        repeats = min(MOST, max(FEWEST, round(1e3 * part_s / once_ms)))
        latencies_ms = {
            "device": engine.measure(self._batch, repeats, False),
            "copies": engine.measure(self._batch, repeats, True),
            "call": spans(self._call, part_s),
        }
        rates = {
            "device": engine.measure_throughput(self._batch, part_s, False),
            "copies": engine.measure_throughput(self._batch, part_s, True),
            "call": self._calls_at_once(part_s),
        }
        return {"latencies_ms": latencies_ms, "images_per_s": rates}

    def _calls_at_once(self, seconds: float) -> float:
        """Images/s of as many callers as the engine serves well at once, all together."""
        assert self._engine is not None
        callers = self._engine.concurrency
        with ThreadPoolExecutor(callers) as pool:
            return sum(map(self._rate, pool.map(lambda _: spans(self._call, seconds), range(callers))))

    def _rate(self, calls_ms: list[float]) -> float:
        return 1e3 * self._batch * len(calls_ms) / sum(calls_ms)


def spans(work: Callable[[], object], seconds: float, fewest: int = FEWEST) -> list[float]:
    """Milliseconds of each call of `work`, for `seconds` and at least `fewest` times."""
    found: list[float] = []
    while len(found) < fewest or sum(found) < 1e3 * seconds:
        since = time.perf_counter()
        work()
        found.append(1e3 * (time.perf_counter() - since))
    return found


def answer(contest: Contest, asked: Json) -> Json:
    """One question's answer; what cannot be measured is an answer too."""
    try:
        if asked["do"] == "here":
            return {"here": contest.here()}
        if asked["do"] == "open":
            return contest.open(Path(asked["file"]), asked["batch"])
        if asked["do"] == "turn":
            return contest.turn(asked["seconds"])
        contest.close()
    except DeviceLostError:
        raise  # only a new process can go on
    except EngineError as error:
        return {"left_out": str(error)}
    return {}


def main() -> None:
    """Answers `{"do": "here"}`, `{"do": "open", "file", "batch"}`, `{"do": "turn", "seconds"}`, `{"do": "close"}`."""
    answers = _own_output()
    contest = Contest(EngineOptions(**orjson.loads(sys.argv[1])))
    for line in sys.stdin.buffer:
        answers.write(orjson.dumps(answer(contest, orjson.loads(line))) + b"\n")
        answers.flush()
    contest.close()


def _own_output() -> BinaryIO:
    """Standard output for the answers alone: what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


if __name__ == "__main__":
    main()
