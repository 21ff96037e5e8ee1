"""`faceserve bench` from end to end on a few requests: that it runs and what it writes, not how fast anything is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.bench import memory, plot
from app.bench.processes import BenchError, Cores, child, environment
from tests.command import Done

PNG = b"\x89PNG\r\n\x1a\n"


Bench = Callable[..., Done]


def written(folder: Path, name: str) -> Any:
    assert (folder / f"{name}.png").read_bytes().startswith(PNG)
    return json.loads((folder / f"{name}.json").read_bytes())


def is_sane(summary: dict[str, Any], rounds: int = 2) -> bool:
    return bool(0 < summary["low"] <= summary["median"] <= summary["high"] and summary["rounds"] == rounds)


@pytest.fixture
def portraits(tmp_path: Path, samples: Path) -> Path:
    """Two of the samples: each photo has its turn in every round."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        shutil.copy(samples / name, folder)
    return folder


def test_quick_bench(bench: Bench, portraits: Path, tmp_path: Path) -> None:
    done = bench("--quick", "--photos", portraits, "--out", tmp_path)
    assert done.code == 0, done.err
    told = written(tmp_path, "bench")

    throughput = told["throughput"]
    assert list(throughput["service"]) == ["1", "4", "8", "16"]
    assert is_sane(throughput["bare_photos_per_s"])
    assert is_sane(throughput["small_scale"]["cost"])
    for row in throughput["service"].values():
        assert is_sane(row["photos_per_s"])
        assert is_sane(row["to_bare"])
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"] <= row["latency_ms"]["p99"]
    assert throughput["enrolled"] == 2
    assert 0 < throughput["core_share"]["low"] <= 1.05
    assert [row["photo"] for row in throughput["one_client"]["photos"]] == ["astronaut.jpg", "grace_hopper.jpg"]

    wire = told["wire"]
    assert is_sane(wire["to_plain"])
    assert 140_000 < wire["picture_bytes"] < 150_000

    steps = told["steps"]
    assert is_sane(steps["total"]["ratio"])
    assert {row["step"] for row in steps["steps"]} >= {"base64", "letterbox", "align", "JSON"}
    assert steps["photo"]["faces"] == 1

    assert [target["aim"] for target in told["targets"]] == ["≥ 0.9", "≤ 1.1", "≥ 2", "≥ 4"]
    assert told["machine"]["packages"]["onnxruntime"]


def test_quick_start(bench: Bench, tmp_path: Path) -> None:
    done = bench("start", "--rounds", 1, "--out", tmp_path)
    assert done.code == 0, done.err
    told = written(tmp_path, "start")["start"]
    assert is_sane(told["to_ready_s"], rounds=1)
    assert is_sane(told["imports_s"], rounds=1)


def test_short_soak(bench: Bench, portraits: Path, tmp_path: Path) -> None:
    done = bench("soak", "--requests", 100, "--photos", portraits, "--out", tmp_path)
    assert done.code == 0, done.err
    told = written(tmp_path, "soak")["soak"]
    assert told["requests"] >= 100
    assert told["unexpected"] == 0
    assert set(told["statuses"]) == {"200", "201", "422"}
    assert all(size > 50 * 2**20 for size in told["resident_bytes"])


def test_a_folder_without_photos_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = bench("--photos", tmp_path, "--out", tmp_path)
    assert done.code == 2
    assert "has no photos" in done.err


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(plot.PlotMissingError, match=r"pip install 'faceserve\[eval\]'"):
        plot.draw({}, tmp_path / "plot.png")


def test_a_child_that_dies_is_an_error() -> None:
    with pytest.raises(BenchError, match="ended with exit code 1"), child(None, "app.bench.no_such_module") as dead:
        dead.ask(anything=True)


@pytest.mark.skipif(Cores.choose().work is None, reason="needs 2 cores")
def test_a_child_is_bound_to_its_core(tmp_path: Path) -> None:
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    (tmp_path / "bound.py").write_text(script)
    core = Cores.choose().client
    done = subprocess.run(
        [sys.executable, "-m", "app.bench.pinned", str(core), "bound"],
        env=environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path.cwd())])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [core]


def test_the_clients_key_does_not_keep_the_bench_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_API_KEY", "secret")
    monkeypatch.setenv("FACESERVE_DETECTOR", "another")
    inherited = environment()
    assert "FACESERVE_API_KEY" not in inherited
    assert inherited["FACESERVE_DETECTOR"] == "another"
    assert inherited["FACESERVE_CONCURRENCY"] == "1"


def test_memory_of_a_family_of_processes() -> None:
    hold = "import time; held = bytearray(b'x') * 10**8; time.sleep(30)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        while memory.resident_bytes(memory.worker_of(parent.pid)) < 10**8:
            assert parent.poll() is None
        family = memory.family_of(parent.pid)
        assert len(family) == 2
        assert memory.worker_of(parent.pid) == family[1]
    finally:
        for pid in reversed(memory.family_of(parent.pid)):
            os.kill(pid, 15)
        parent.wait()
