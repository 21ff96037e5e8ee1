"""One size of gallery, from an empty folder to figures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from app.bench.gallery.contest import CLIENTS, LITE
from app.bench.gallery.crowd import fill
from app.bench.processes import Child, Cores, child
from app.bench.statistics import Json, Summary, Target, percentiles, ratios

_QUERIES, _WORKERS, _ENROL_S = 64, 4, 3.0


def measure(rows: int, dimension: int, rounds: int, cores: Cores, folder: Path, *, lite: bool = False) -> Json:
    """Needs about 8 bytes a number of disk in `folder`, 12 of memory, and /proc."""
    begun = time.perf_counter()
    fill(folder, rows, dimension)
    told: Json = {"rows": rows, "dimension": dimension, "fill_s": time.perf_counter() - begun, "clients": CLIENTS}
    told |= {"file_bytes": {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}}
    told |= _workers(cores, folder, dimension)
    others = [LITE] if lite else []
    with child(cores.work, "app.bench.gallery.contest", str(folder), str(rows), str(dimension), *others) as contest:
        told |= _contest(contest, rounds)
    with child(cores.work, "app.bench.gallery.worker", str(folder), str(dimension)) as worker:
        worker.ask(do="open")
        told["enrolling"] = worker.ask(do="enrol", seconds=_ENROL_S)
    shutil.rmtree(folder / "snapshots")
    with child(cores.work, "app.bench.gallery.worker", str(folder), str(dimension)) as worker:
        told["open_without_s"] = worker.ask(do="open")["open_s"]
    return told


def _workers(cores: Cores, folder: Path, dimension: int) -> Json:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(child(cores.work, "app.bench.gallery.worker", str(folder), str(dimension)))
            for _ in range(_WORKERS)
        ]
        first = workers[0].ask(do="open")
        one = workers[0].ask(do="memory")
        opened = [first["open_s"], *(worker.ask(do="open")["open_s"] for worker in workers[1:])]
        every = [worker.ask(do="memory") for worker in workers]
    return {
        "open_s": opened,
        "memory": {
            "before": first["before"],
            "one": one,
            "each_of_four": {key: sum(each[key] for each in every) / len(every) for key in one},
        },
    }


def _contest(contest: Child, rounds: int) -> Json:
    agreement = contest.ask(do="agree", queries=_QUERIES)
    turns = [contest.ask(do="turn") for _ in range(rounds)]
    best = {who: [min(turn["one_ms"][who]) for turn in turns] for who in turns[0]["one_ms"]}
    together = {who: [turn["together_ms"][who] for turn in turns] for who in turns[0]["together_ms"]}
    return {
        "agreement": agreement,
        "one_ms": {who: percentiles(_flat(turns, who)) for who in best},
        "one_to_ours": {who: asdict(ratios(best[who], best["ours"])) for who in best},
        "together_per_s": {
            who: asdict(Summary.of(1e3 * CLIENTS / ms for ms in each)) for who, each in together.items()
        },
        "together_to_flat": {who: asdict(ratios(together["flat"], each)) for who, each in together.items()},
    }


def _flat(turns: Sequence[Json], who: str) -> list[float]:
    return [ms for turn in turns for ms in turn["one_ms"][who]]


def targets(told: Json) -> list[Target]:
    found = []
    for size in told["sizes"]:
        which = f"{size['rows']:,} × {size['dimension']}"
        together = size["together_to_flat"]["ours"]["median"]
        found += [
            Target.at_least(f"{which}: {CLIENTS} at once, searches/s to IndexFlatIP's", 4, together),
            Target.at_least(
                f"{which}: one search, IndexFlatIP's time to ours", 1.5, size["one_to_ours"]["flat"]["median"]
            ),
            Target.at_least(f"{which}: same first", 1, size["agreement"]["same"] / size["agreement"]["queries"]),
        ]
        if size["rows"] >= 1_000_000:
            found.append(Target.at_most(f"{which}: open, s", 10, max(size["open_s"])))
    return found
