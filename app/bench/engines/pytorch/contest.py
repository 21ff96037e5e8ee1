"""`python contest.py fp32|fp16`: measures networks that PyTorch runs one operation after the other, as people do first.

Settings are PyTorch's own (TensorFloat-32 for convolutions on a GPU). The images lie on the device, scaled and in the
network's precision, and what follows the network (decoding, normalisation) is left out: to PyTorch's advantage.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import LeftOutError, Network  # type: ignore[import-not-found]  # beside this file

WARM_S, WARM_RUNS = 0.5, 3
FEWEST, MOST = 3, 10_000
LONGEST_ON_CPU_S = 2.0


class Contest:
    """PyTorch's side of it: one network at a time, at one batch size."""

    def __init__(self, precision: str) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        gpu = {"gpu": torch.cuda.get_device_name()} if self._device == "cuda" else {}
        self._dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
        self.description = {
            "runtime": "pytorch",
            "version": torch.__version__,
            "device": self._device,
            "precision": precision,
        } | gpu
        self._network: Network | None = None

    def open(self, folder: Path, batch: int) -> dict[str, Any]:
        """Loads the network, compares it with the recipe's reference and warms it at that batch."""
        self.close()
        self._network = Network(folder, self._device, self._dtype)
        differences = self._differences(folder)
        random = np.random.default_rng(0)
        self._host = random.normal(0, 64, (batch, *self._network.shape)).astype(np.float32)
        self._images = torch.from_numpy(self._host).to(self._device, self._dtype)
        self._refuse_if_long(batch)
        self._once_s = self._warm()
        return {"description": self.description, "facts": {"worst_difference": differences}}

    def turn(self, seconds: float) -> dict[str, Any]:
        """Half the time on images that lie on the device, half from NumPy to NumPy."""
        device_ms, rate = self._on_device(seconds / 2)
        call_ms = self._calls(seconds / 2)
        return {
            "latencies_ms": {"device": device_ms, "call": call_ms},
            "images_per_s": {"device": rate, "call": 1e3 * len(self._host) * len(call_ms) / sum(call_ms)},
        }

    def close(self) -> None:
        """Frees the network."""
        self._network = self._images = None
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _run(self, images: Any) -> list[Any]:
        assert self._network is not None
        outputs: list[Any] = self._network(images)
        return outputs

    def _differences(self, folder: Path) -> float | None:
        """The largest difference from the reference over all outputs, as a share of the output's largest value."""
        with np.load(folder / "reference.npz") as stored:
            expected = {name: stored[name] for name in stored.files}
        images = torch.from_numpy(expected.pop("images")).to(self._device, self._dtype)
        assert self._network is not None
        found = dict(zip(self._network.outputs, self._run(images), strict=True))
        worst = max(
            float(np.abs(found[name].float().cpu().numpy() - array).max() / np.abs(array).max())
            for name, array in expected.items()
        )
        return worst if np.isfinite(worst) else None

    def _refuse_if_long(self, batch: int) -> None:
        if self._device == "cpu":
            self._run(self._images[:1])
            since = time.perf_counter()
            self._run(self._images[:1])
            if (whole := batch * (time.perf_counter() - since)) > LONGEST_ON_CPU_S:
                raise LeftOutError(f"a run would take about {whole:.0f} s on the CPU")

    def _warm(self) -> float:
        """Seconds of one run, after the choice of algorithms and the filling of PyTorch's memory pool."""
        since, runs = time.perf_counter(), 0
        while runs < WARM_RUNS or time.perf_counter() - since < WARM_S:
            self._run(self._images)
            self._wait()
            runs += 1
        since = time.perf_counter()
        for _ in range(WARM_RUNS):
            self._run(self._images)
        self._wait()
        return (time.perf_counter() - since) / WARM_RUNS

    def _on_device(self, seconds: float) -> tuple[list[float], float]:
        """Milliseconds of each run by the device's clock, and images/s; runs are queued without waiting for each."""
        repeats = min(MOST, max(FEWEST, round(seconds / self._once_s)))
        clock = _gpu_clock if self._device == "cuda" else _cpu_clock
        since = time.perf_counter()
        spans = clock(lambda: self._run(self._images), repeats)
        return spans, len(self._host) * repeats / (time.perf_counter() - since)

    def _calls(self, seconds: float) -> list[float]:
        spans: list[float] = []
        while len(spans) < FEWEST or sum(spans) < 1e3 * seconds:
            since = time.perf_counter()
            images = torch.from_numpy(self._host).to(self._device).to(self._dtype)
            for output in self._run(images):
                output.cpu().numpy()
            spans.append(1e3 * (time.perf_counter() - since))
        return spans

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def _gpu_clock(run: Callable[[], object], repeats: int) -> list[float]:
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in pairs:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in pairs]


def _cpu_clock(run: Callable[[], object], repeats: int) -> list[float]:
    spans = []
    for _ in range(repeats):
        since = time.perf_counter()
        run()
        spans.append(1e3 * (time.perf_counter() - since))
    return spans


def answer(contest: Contest, asked: dict[str, Any]) -> dict[str, Any]:
    """One question's answer; what cannot be measured is an answer too."""
    try:
        if asked["do"] == "here":
            return {"here": contest.description}
        if asked["do"] == "open":
            return contest.open(Path(asked["recipe"]), asked["batch"])
        if asked["do"] == "turn":
            return contest.turn(asked["seconds"])
        contest.close()
    except LeftOutError as error:
        contest.close()
        return {"left_out": str(error)}
    except torch.cuda.OutOfMemoryError as error:
        contest.close()
        return {"left_out": f"the GPU's memory does not hold it: {error}"}
    return {}


def main() -> None:
    """Answers `{"do": "here"}`, `{"do": "open", "recipe", "batch"}`, `{"do": "turn", "seconds"}`, `{"do": "close"}`."""
    contest = Contest(sys.argv[1])
    with torch.inference_mode():
        for line in sys.stdin:
            print(json.dumps(answer(contest, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
