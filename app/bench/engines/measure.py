"""The contest: for each row every runtime loads the network, and then they take turns, in an order that changes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from app.bench.engines.networks import Network, ensure_network
from app.bench.engines.rows import Row
from app.bench.engines.runtimes import Running
from app.bench.processes import BenchError
from app.bench.statistics import Json, Summary, percentiles, ratios
from engines.base import EngineError, ModelError

Turns = dict[str, list[Json]]
"""By runtime, what each of its turns found."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: `rounds` of turns of `seconds`; no row is begun once `minutes` have passed."""

    rounds: int
    seconds: float
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A row and who runs it."""

    row: Row
    runtimes: Sequence[Running]


class Contest:
    """Does one job after the other. `told` has what was found so far, and what was left out and why."""

    def __init__(self, effort: Effort, work: Path) -> None:
        self._effort, self._work = effort, work
        self.told: Json = {"rounds": effort.rounds, "seconds": effort.seconds, "rows": [], "left_out": []}

    def run(self, jobs: Sequence[Job], after_each: Callable[[Json], None]) -> None:
        """Measures what there is time for; `after_each` hears of each row that was measured, as it stands in `told`."""
        began = time.monotonic()
        for job in jobs:
            if self._effort.minutes is not None and time.monotonic() - began >= 60 * self._effort.minutes:
                self._leave_out(job.row, job.runtimes, "the time was up")
                continue
            try:
                network = ensure_network(job.row, self._work)
                opened = {each.name: answer for each in job.runtimes if (answer := self._open(job.row, each, network))}
            except EngineError as error:
                self._leave_out(job.row, job.runtimes, str(error))
                continue
            turns = self._take_turns(job, opened)
            if turns:
                after_each(self._add(job.row, network, opened, turns))

    def _open(self, row: Row, running: Running, network: Network) -> Json:
        question = {"do": "open", "batch": row.batch, "file": str(network.file)}
        if running.takes_recipes:
            from app.bench.engines.recipe import ensure_recipe  # imports onnx

            try:
                question["recipe"] = str(ensure_recipe(network.file, self._work / "recipes"))
            except ModelError as error:
                self._leave_out(row, [running], str(error))
                return {}
        return self._asked(row, running, question)

    def _take_turns(self, job: Job, opened: Json) -> Turns:
        turns: Turns = {name: [] for name in opened}
        for number in range(self._effort.rounds):
            present = [running for running in job.runtimes if running.name in turns]
            for running in random.Random(number).sample(present, len(present)):
                found = self._asked(job.row, running, {"do": "turn", "seconds": self._effort.seconds})
                if found:
                    turns[running.name].append(found)
                else:
                    del turns[running.name]
        for running in job.runtimes:
            if running.name in turns:
                self._asked(job.row, running, {"do": "close"})
        return turns

    def _asked(self, row: Row, running: Running, question: Json) -> Json:
        """The answer; empty, and the reason noted, when there is none."""
        try:
            answer: Json = running.ask(**question)
        except BenchError as error:
            answer = {"left_out": str(error)}
        if "left_out" in answer:
            self._leave_out(row, [running], answer["left_out"])
            return {}
        return answer

    def _leave_out(self, row: Row, runtimes: Sequence[Running], reason: str) -> None:
        names = ", ".join(running.name for running in runtimes)
        self.told["left_out"].append({"network": row.network, "batch": row.batch, "runtime": names, "reason": reason})

    def _add(self, row: Row, network: Network, opened: Json, turns: Turns) -> Json:
        """The entry of this row, which an earlier job may have begun, with what these turns found."""
        known = {(entry["network"], entry["batch"]): entry for entry in self.told["rows"]}
        entry = known.get((row.network, row.batch))
        if entry is None:
            entry = {"model": row.model, "network": row.network, "size": list(row.size), "batch": row.batch}
            entry |= {"random_weights": network.random, "runtimes": {}, "times_faster": []}
            self.told["rows"].append(entry)
            order = list(dict.fromkeys(each["network"] for each in self.told["rows"]))
            self.told["rows"].sort(key=lambda each: (order.index(each["network"]), each["batch"]))
        entry["runtimes"] |= {name: figures(found, row.batch) | opened[name] for name, found in turns.items()}
        entry["times_faster"] += times_faster(turns)
        return entry


def figures(turns: Sequence[Json], batch: int) -> Json:
    """One runtime's turns as latencies over all rounds, and images/s a round, by each way of measuring.

    `one_at_a_time_per_s` is the batch over the mean latency; `images_per_s` is with as many runs at once as the
    runtime does well. `with_copies` is what copies leave of the latter, where both were measured.
    """
    ways = list(turns[0]["latencies_ms"])
    told: Json = {"latency_ms": {}, "one_at_a_time_per_s": {}, "images_per_s": {}}
    for way in ways:
        latencies = [value for turn in turns for value in turn["latencies_ms"][way]]
        mean = float(np.mean(latencies))
        told["latency_ms"][way] = {"mean": mean, **percentiles(latencies), "runs": len(latencies)}
        told["one_at_a_time_per_s"][way] = 1e3 * batch / mean
        told["images_per_s"][way] = asdict(Summary.of(_rates(turns, way)))
    if {"device", "copies"} <= set(ways):
        told["with_copies"] = asdict(ratios(_rates(turns, "copies"), _rates(turns, "device")))
    return told


def times_faster(turns: Turns) -> list[Json]:
    """What the first runtime's median latency is to that of each other one, round by round: on the device where both
    can be measured there, else from call to answer."""
    names = list(turns)
    found = []
    for other in names[1:]:
        ways = [turns[name][0]["latencies_ms"] for name in (names[0], other)]
        way = "device" if all("device" in each for each in ways) else "call"
        slow, fast = (
            [float(np.median(turn["latencies_ms"][way])) for turn in turns[name]] for name in (other, names[0])
        )
        found.append({"faster": names[0], "than": other, "way": way, "ratio": asdict(ratios(slow, fast))})
    return found


def _rates(turns: Sequence[Json], way: str) -> list[float]:
    return [turn["images_per_s"][way] for turn in turns]
