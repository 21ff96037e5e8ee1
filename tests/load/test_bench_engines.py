"""`faceserve bench engines`: that it runs on what there is, says what it left out, and counts right."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.bench import plot
from app.bench.engines import child, rows, tables
from app.bench.engines.child import spans
from app.bench.engines.entrants import Entrants
from app.bench.engines.measure import Contest, Effort, Job, figures, times_faster
from app.bench.engines.options import EngineOptions
from app.bench.engines.rows import Row, UnknownRowError
from app.bench.engines.runtimes import Running, Runtime, find_torch
from app.bench.engines.targets import targets
from app.bench.processes import BenchError, environment
from engines.base import Tensors
from engines.models import SHIPPED as SHIPPED_MODELS
from engines.onnxruntime import OnnxRuntimeEngine
from tests.command import Done

Bench = Callable[..., Done]
SHIPPED = Row("mobilefacenet_256", (112, 112), 2)
SHIPPED_FILE = SHIPPED_MODELS / "mobilefacenet_256" / "112x112.onnx"
ANSWERING = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == sys.argv[1]:
        sys.exit(3)
    turn = {"latencies_ms": {"call": [2.0, 4.0]}, "images_per_s": {"call": 600.0}}
    opened = {"description": {"pid": __import__("os").getpid()}, "facts": {}}
    print(json.dumps({"turn": turn, "open": opened}.get(asked["do"], {})), flush=True)
"""


def answering(name: str, dies_at: str = "never") -> Running:
    """A runtime of two lines, which ends when it is asked to do `dies_at`."""
    return Running(Runtime(name, [sys.executable, "-c", ANSWERING, dies_at], environment()))


def contest(effort: Effort, work: Path, *runtimes: Running, times: int = 1) -> dict[str, Any]:
    """What is told of `times` jobs on a shipped network."""
    held = Contest(effort, work)
    try:
        held.run([Job(SHIPPED, runtimes)] * times, lambda row: None)
    finally:
        for running in runtimes:
            running.close()
    return held.told


def test_quick(bench: Bench, tmp_path: Path) -> None:
    done = bench("engines", "--quick", "--out", tmp_path)
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "engines.json").read_bytes())["engines"]
    assert (tmp_path / "engines.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    assert [(row["network"], row["batch"]) for row in told["rows"]] == [(row.network, row.batch) for row in rows.QUICK]
    for row in told["rows"]:
        assert not row["random_weights"]
        found = row["runtimes"]["ONNX Runtime"]
        latency, rate = found["latency_ms"]["call"], found["images_per_s"]["call"]
        assert 0 < latency["p50"] <= latency["p99"]
        assert found["one_at_a_time_per_s"]["call"] == pytest.approx(1e3 * row["batch"] / latency["mean"])
        assert 0 < rate["low"] <= rate["median"] <= rate["high"]
        assert rate["rounds"] == 2
    accounted = {name.split()[0] for name in (*told["here"], *told["absent"])}
    assert accounted == {"TensorRT", "ONNX", "PyTorch"}
    assert all(f"{name} is left out: {reason}" in done.err for name, reason in told["absent"].items())


def test_a_row_that_is_not_there_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = bench("engines", "--only", "yolo", "--out", tmp_path)
    assert done.code == 2
    assert "retinaface_r50@640x640" in " ".join(done.err.split())


def test_rows_by_model_size_and_batch() -> None:
    assert [row.batch for row in rows.choose(rows.ALL, ["arcface_r50"])] == [128, 1, 8, 32, 64]
    assert {row.size for row in rows.choose(rows.ALL, ["retinaface_mnet025"])} == {(640, 640), (960, 1280)}
    assert rows.choose(rows.ALL, ["retinaface_r50@640x640"], [4]) == [Row("retinaface_r50", (640, 640), 4)]
    assert rows.choose(rows.ALL) == list(rows.ALL)
    with pytest.raises(UnknownRowError, match=r"'retinaface_r50@64x64'.*the rows are arcface_r100@112x112"):
        rows.choose(rows.ALL, ["retinaface_r50@64x64"])


def test_the_promises_rows_come_first() -> None:
    first = [(row.network, row.batch) for row in rows.ALL]
    assert first[:2] == [("retinaface_r50@640x640", 1), ("retinaface_r50@640x640", 32)]
    assert rows.ALL[-1].model == "arcface_r100"


def test_a_runtime_that_dies_leaves_the_others_and_starts_anew(tmp_path: Path) -> None:
    steady, frail = answering("steady"), answering("frail", dies_at="turn")
    told = contest(Effort(rounds=2, seconds=0.1), tmp_path, steady, frail, times=2)
    (row,) = told["rows"]
    assert list(row["runtimes"]) == ["steady"]
    assert row["runtimes"]["steady"]["latency_ms"]["call"]["runs"] == 4
    reasons = [(each["runtime"], each["reason"]) for each in told["left_out"]]
    assert reasons == [("frail", "frail ended with exit code 3; its errors are above")] * 2


def test_no_row_is_begun_once_the_time_is_up(tmp_path: Path) -> None:
    told = contest(Effort(rounds=2, seconds=0.1, minutes=0), tmp_path, answering("a"), answering("b", "open"))
    assert not told["rows"]
    assert told["left_out"] == [
        {"network": SHIPPED.network, "batch": 2, "runtime": "a, b", "reason": "the time was up"}
    ]


def test_a_network_that_cannot_be_had_is_left_out(tmp_path: Path) -> None:
    held, running = Contest(Effort(1, 0.1), tmp_path), answering("a")
    held.run([Job(Row("no_such_net", (112, 112), 1), [running])], lambda row: None)
    assert "no_such_net" in held.told["left_out"][0]["reason"]


class TwoAtOnce(OnnxRuntimeEngine):
    """Stands in for TensorRT's engine: the first call of each thread but this one waits for another such thread."""

    def __init__(self) -> None:
        super().__init__(SHIPPED_FILE, concurrency=2)
        self.met: dict[int, int] = {}
        self._both, self._home = threading.Barrier(2), threading.get_ident()
        self.description["device"] = "cuda:0"
        self.max_batch_size = 2

    def run(self, feeds: Tensors) -> dict[str, Any]:
        thread = threading.get_ident()
        if thread != self._home and thread not in self.met:
            self.met[thread] = self._both.wait(60)
        return super().run(feeds)

    def measure(self, rows: int, repeats: int, copies: bool) -> list[float]:
        return [3.0 if copies else 2.0] * repeats

    def measure_throughput(self, rows: int, seconds: float, copies: bool) -> float:
        return 600.0 if copies else 900.0


def test_calls_at_once_are_as_many_as_the_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TwoAtOnce()
    monkeypatch.setattr("app.bench.engines.narrow.open_narrow", lambda file, batch, options: (engine, {}))
    side = child.Contest(EngineOptions("tensorrt"))
    side.open(SHIPPED_FILE, SHIPPED.batch)
    told = side.turn(0.1)
    side.close()
    assert set(told["latencies_ms"]) == set(told["images_per_s"]) == {"device", "copies", "call"}
    assert len(told["latencies_ms"]["device"]) == 8  # of 2 ms each, in a sixth of the turn
    assert told["images_per_s"]["call"] > 0
    assert sorted(engine.met.values()) == [0, 1]


def test_the_first_of_all_take_turns_and_others_come_afterwards() -> None:
    one, other, extra = (answering(name) for name in ("one", "other", "extra"))
    jobs = Entrants(together=[one, other], alone=[extra]).jobs(rows.QUICK[:2])
    assert [(job.row.model, [running.name for running in job.runtimes]) for job in jobs] == [
        ("retinaface_mnet025", ["one", "other"]),
        ("mobilefacenet_256", ["one", "other"]),
        ("retinaface_mnet025", ["extra"]),
        ("mobilefacenet_256", ["extra"]),
    ]


def test_figures_of_a_runtime_without_a_gpu_say_so() -> None:
    row = measured("arcface_r50@112x112", 8, 1, 1e4, 9e3)
    row["runtimes"]["TensorRT fp16"]["description"] = {"device": "cuda:0"}
    row["runtimes"]["PyTorch fp32"]["description"] = {"device": "cpu"}
    figures_table, ratios_table = tables.tables(told_of(row))
    assert list(figures_table.columns[0].cells)[2:] == ["PyTorch fp32 on the CPU, device"]
    assert list(ratios_table.columns[0].cells) == ["TensorRT fp16 than PyTorch fp32 on the CPU, device"]


def turn(device_ms: list[float], rate: float, copies: float | None = None) -> dict[str, Any]:
    ways = {"device": device_ms} | ({} if copies is None else {"copies": device_ms})
    rates = {"device": rate} | ({} if copies is None else {"copies": copies})
    return {"latencies_ms": ways, "images_per_s": rates}


def test_figures() -> None:
    found = figures([turn([1.0, 3.0], 100.0, 90.0), turn([2.0, 2.0], 200.0, 160.0)], batch=8)
    assert found["latency_ms"]["device"]["mean"] == 2.0
    assert found["latency_ms"]["device"]["runs"] == 4
    assert found["one_at_a_time_per_s"]["device"] == 4000.0
    assert found["images_per_s"]["device"]["median"] == 150.0
    assert (found["with_copies"]["low"], found["with_copies"]["high"]) == (0.8, 0.9)


def test_times_faster_is_taken_round_by_round_where_both_were_measured() -> None:
    call = {"latencies_ms": {"call": [12.0]}, "images_per_s": {"call": 1.0}}
    ours = turn([1.0], 1.0)
    ours["latencies_ms"]["call"] = [3.0]
    slower = turn([5.0], 1.0)
    found = times_faster({"a": [ours, ours], "b": [slower, slower], "c": [call, call]})
    assert [(each["faster"], each["than"], each["way"]) for each in found] == [("a", "b", "device"), ("a", "c", "call")]
    assert [each["ratio"]["median"] for each in found] == [5.0, 4.0]


def measured(network: str, batch: int, ms: float, rate: float, copies: float) -> dict[str, Any]:
    ours, eager = [turn([ms], rate, copies)], [turn([5 * ms], rate)]
    return {
        "network": network,
        "batch": batch,
        "random_weights": True,
        "runtimes": {"TensorRT fp16": figures(ours, batch), "PyTorch fp32": figures(eager, batch)},
        "times_faster": times_faster({"TensorRT fp16": ours, "PyTorch fp32": eager}),
    }


def told_of(*measurements: dict[str, Any]) -> dict[str, Any]:
    return {"rows": list(measurements), "left_out": [], "here": {}, "absent": {}}


def test_targets() -> None:
    told = told_of(
        measured("retinaface_r50@640x640", 1, 0.7, 1500, 1400),
        measured("retinaface_r50@640x640", 32, 9, 3900, 3120),
        measured("retinaface_mnet025@960x1280", 8, 2, 4900, 4500),
        measured("retinaface_mnet025@960x1280", 32, 6, 5100, 4590),
        measured("arcface_r50@112x112", 128, 6, 21000, 20000),
        measured("facenet@160x160", 1, 0.5, 2100, 2000),
        measured("facenet@160x160", 32, 2, 28500, 28000),
    )
    found = {(target.aim, round(target.found, 2), target.met) for target in targets(told)}
    assert found == {
        ("≤ 0.8", 0.7, True),
        ("≥ 4", 5.0, True),
        ("≥ 4000", 3900.0, False),
        ("≥ 5000", 5100.0, True),
        ("≥ 20000", 21000.0, True),
        ("≥ 28000", 28500.0, True),
        ("≥ 7", 8.0, True),
        ("≥ 0.85", 0.8, False),
    }


def test_no_promise_is_about_a_row_that_was_not_measured() -> None:
    assert not targets(told_of())
    assert [target.aim for target in targets(told_of(measured("facenet@160x160", 1, 1, 1, 1)))] == []


def test_a_plot_of_several_runtimes(tmp_path: Path) -> None:
    machine = {"cpu": "a CPU", "gpu": "a GPU", "measured_at": "2026-11-20T00:00"}
    engines = told_of(*(measured("arcface_r50@112x112", batch, batch / 10, 1e4, 9e3) for batch in (1, 8, 64)))
    plot.draw({"machine": machine, "engines": engines}, tmp_path / "engines.png")
    assert (tmp_path / "engines.png").stat().st_size > 10_000


def test_spans_last_as_long_as_asked_and_no_less_than_some() -> None:
    assert len(spans(lambda: None, 0, fewest=5)) == 5
    assert sum(spans(lambda: time.sleep(0.001), 0.01)) >= 10


def test_a_python_without_pytorch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no_such_python.*--torch-python"):
        find_torch(tmp_path / "no_such_python")
