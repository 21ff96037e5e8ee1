"""The service at each number of workers and pipeline threads, on each set of photos."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from app.bench.load.client import OUTSIDE, Clients, open_clients
from app.bench.load.photos import PORTRAITS, SAMPLES, Sets
from app.bench.load.service import Running, mean_rows, started
from app.bench.load.usage import GpuWatch, Usage, watching_gpus
from app.bench.processes import BenchError
from app.bench.statistics import Json, Summary, Target, percentiles
from app.bench.throughput import enrol

STEPS = ("queue", "decode", "detect", "align", "embed", "search", "total", OUTSIDE)
WARM_UP = 0.25
"""A warm-up turn's share of a turn; those of all photos together are as long as a turn."""
REQUESTS_PER_S, COLD_START_S = 2000, 5.0
PROMISED_SET = "640x480, 1 face"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried, and for how long: `rounds` turns of `seconds` for each set of photos."""

    workers: Sequence[int]
    pipeline_threads: Sequence[int]
    clients: int
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Places:
    """The cores of the service (as in `0-11`) and of the clients; None where processes cannot be bound."""

    server: str | None
    clients: Sequence[int] | None


def measure(sets: Sets, plan: Plan, places: Places, folder: Path, told: Json, done: Callable[[], None]) -> None:
    """Fills `told` and calls `done` after each combination, so that what was measured outlives what comes after.

    A combination in which the service did not start or hung up gets an `error` and nothing else.
    """
    told |= {"clients": plan.clients, "rounds": plan.rounds, "seconds": plan.seconds, "combinations": []}
    told["photos"] = {name: [photo.stat().st_size for photo in photos] for name, photos in sets.items()}
    for workers in plan.workers:
        for threads in plan.pipeline_threads:
            combination: Json = {"workers": workers, "pipeline_threads": threads}
            own = folder / f"{workers}-{threads}"
            own.mkdir()
            try:
                combination |= _combination(sets, plan, places, own, workers, threads)
            except BenchError as error:
                combination["error"] = str(error)
            told["combinations"].append(combination)
            done()


def _combination(sets: Sets, plan: Plan, places: Places, folder: Path, workers: int, threads: int) -> Json:
    with (
        open_clients(places.clients, plan.clients) as clients,
        watching_gpus() as gpus,
        started(places.server, folder, workers=workers, pipeline_threads=threads) as running,
    ):
        enrol(running.server, [SAMPLES / name for name in PORTRAITS])
        for photos in sets.values():
            clients.drive(running.server.port, photos, WARM_UP * plan.seconds)
        turns: dict[str, list[Json]] = {name: [] for name in sets}
        for number in range(plan.rounds):
            for name in random.Random(number).sample(list(sets), len(sets)):
                turns[name].append(_turn(running, clients, gpus, sets[name], plan.seconds))
        return {
            "cold_start_s": running.cold_start_s,
            "all_ready_s": running.all_ready_s,
            "engines": running.server.request("GET", "/info")[1]["engines"],
            "rows": {name: _row(rounds) for name, rounds in turns.items()},
        }


def _turn(running: Running, clients: Clients, gpus: GpuWatch, photos: Sequence[Path], seconds: float) -> Json:
    batches, usage, start = running.batches(), Usage.of(running.server.pid), time.perf_counter()
    told = clients.drive(running.server.port, photos, seconds)
    end, after = time.perf_counter(), Usage.of(running.server.pid)
    return told | {
        "requests_per_s": len(told["latencies_ms"]) / told["seconds"],
        "cores_busy": (after.cpu_s - usage.cpu_s) / (end - start),
        "resident_bytes": after.resident_bytes,
        "gpus": gpus.between(start, end),
        "mean_rows": mean_rows(batches, running.batches()),
    }


def _row(turns: Sequence[Json]) -> Json:
    """What the rounds of one set of photos say together."""
    statuses: Counter[str] = Counter()
    for turn in turns:
        statuses.update(turn["statuses"])
    latencies = [latency for turn in turns for latency in turn["latencies_ms"]]
    answers = [answer for turn in turns for answer in turn["answers"]]
    return {
        "requests_per_s": asdict(Summary.of(turn["requests_per_s"] for turn in turns)),
        "latency_ms": percentiles(latencies) if latencies else None,
        "statuses": dict(statuses),
        "failed": statuses.total() - statuses["200"],
        "mean_rows": _means(turn["mean_rows"] for turn in turns),
        "cores_busy": float(np.median([turn["cores_busy"] for turn in turns])),
        "resident_bytes": max(turn["resident_bytes"] for turn in turns),
        "gpus": _gpus([turn["gpus"] for turn in turns]),
        "timings_ms": {
            step: float(np.median([answer["timings_ms"].get(step, 0.0) for answer in answers])) for step in STEPS
        }
        if answers
        else None,
        "faces": float(np.mean([answer["faces"] for answer in answers])) if answers else None,
        "answers_read": len(answers),
        "client_share": max(turn["client_share"] for turn in turns),
    }


def _means(found: Iterable[dict[str, float]]) -> dict[str, float]:
    rounds = list(found)
    names = dict.fromkeys(name for each in rounds for name in each)
    return {name: float(np.mean([each[name] for each in rounds if name in each])) for name in names}


def _gpus(rounds: Sequence[Json]) -> Json:
    return {
        gpu: _means(each[gpu] for each in rounds if gpu in each)
        for gpu in dict.fromkeys(gpu for each in rounds for gpu in each)
    }


def on_gpu(told: Json) -> bool:
    """Whether any of the combinations ran its networks on a GPU."""
    engines = [engine for each in told["combinations"] for engine in each.get("engines", {}).values()]
    return any(str(engine.get("device", "")).startswith("cuda") for engine in engines)


def targets(told: Json) -> list[Target]:
    """No failures anywhere; on a GPU the project's aims for the default pair too."""
    measured = [each for each in told["combinations"] if "rows" in each]
    if not measured:
        raise BenchError("nothing was measured: " + "; ".join(each["error"] for each in told["combinations"]))
    failed = sum(row["failed"] for each in measured for row in each["rows"].values())
    found = [Target.at_most("answers of another status than 200", 0, failed)]
    if on_gpu(told):
        rates = [
            each["rows"][PROMISED_SET]["requests_per_s"]["median"] for each in measured if PROMISED_SET in each["rows"]
        ]
        if rates:
            found.append(Target.at_least(f"requests/s, {PROMISED_SET}, the best of all", REQUESTS_PER_S, max(rates)))
        first = measured[0]
        found.append(Target.at_most(f"cold start, s, workers: {first['workers']}", COLD_START_S, first["cold_start_s"]))
    return found
