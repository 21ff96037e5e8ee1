"""TensorRT when things go wrong, each in a process of its own: plans that are none, a full GPU, a lost GPU, an exit
without close."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.plans import Profile
from tests.engines.gpu import NEEDS_GPU, child, planned

pytestmark = NEEDS_GPU

BEGIN = """
import logging, sys
from pathlib import Path
import numpy as np
from engines import cuda
from engines.base import *
from engines.tensorrt import TensorRTEngine
plan = Path(sys.argv[1]).read_bytes()
feeds = {"crops": np.full((3, 112, 112, 3), 127, np.uint8)}
"""
FULL = """
engine = TensorRTEngine(plan)
engine.run(feeds)
engine.close()
with cuda.primary_context("cuda:0"):
    driver, held, size = cuda.pycuda(), [], 1 << 34
    before = driver.mem_get_info()[0]
    while size >= 1 << 21:
        try:
            held.append(driver.mem_alloc(size))
        except driver.MemoryError:
            size //= 2
    try:
        TensorRTEngine(plan)
    except DeviceMemoryError as error:
        print(error)
    for each in held:
        each.free()
    assert before - driver.mem_get_info()[0] < 1 << 24, (before, driver.mem_get_info())
with_room = TensorRTEngine(plan)
with_room.run(feeds)
with_room.close()
print("and then there was room")
"""
TRAP = """
TRAP = b'''
.version 6.4
.target sm_75
.address_size 64
.visible .entry break_down() { trap; ret; }
\\0'''
engine = TensorRTEngine(plan)
engine.run(feeds)
assert engine.fault is None
with cuda.primary_context("cuda:0"):
    driver = cuda.bindings()
    module = cuda.check(driver.cuModuleLoadData(TRAP), "loading")
    function = cuda.check(driver.cuModuleGetFunction(module, b"break_down"), "finding")
    cuda.check(driver.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0), "launching")
    (code,) = driver.cuCtxSynchronize()
    print("trapped" if int(code) else "nothing happened")
for _ in range(3):
    try:
        engine.run(feeds)
    except DeviceLostError as error:
        print("lost:", error)
assert "only a new one can use it again" in engine.fault
engine.close()
print("closed")
"""


@pytest.fixture(scope="module")
def plan(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "embedder.plan"
    path.write_bytes(planned(weights / "mobilefacenet_256/112x112.onnx", "fp16", Profile(1, 4, 6)))
    return path


@pytest.mark.parametrize("damage", ["b''", "b'not a plan' * 1000", "bytes(64) + plan[64:]", "plan[: len(plan) // 2]"])
def test_a_plan_that_is_none_is_refused(damage: str, plan: Path) -> None:
    script = f"""{BEGIN}
for device in ("cuda:0", "cuda:0"):
    try:
        TensorRTEngine({damage}, device=device)
    except PlanError as error:
        print(error)
"""
    done = child(script, str(plan))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot load this plan") == 2, done.stdout + done.stderr
    assert "faceserve build" in done.stdout


def test_a_full_gpu_says_so_and_keeps_nothing(plan: Path) -> None:
    done = child(BEGIN + FULL, str(plan))
    assert done.returncode == 0, done.stderr
    assert "the GPU's memory is too small" in done.stdout
    assert "MiB are free" in done.stdout
    assert "nvidia-smi" in done.stdout
    assert done.stdout.endswith("and then there was room\n")


def test_a_lost_gpu_is_told_to_everyone_and_the_process_ends_in_good_order(plan: Path) -> None:
    done = child(BEGIN + TRAP, str(plan))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("trapped\n")
    assert done.stdout.count("lost: the GPU is lost to this process") == 3
    assert done.stdout.endswith("closed\n")


def test_a_process_that_forgets_to_close_ends_in_good_order(plan: Path) -> None:
    script = f"{BEGIN}\nengine = TensorRTEngine(plan)\nengine.run(feeds)\nprint('done')"
    done = child(script, str(plan))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "PyCUDA" not in done.stderr


def test_a_process_that_fails_in_mid_run_ends_in_good_order(plan: Path) -> None:
    script = f"""{BEGIN}
import threading
engine = TensorRTEngine(plan)
def ask():
    try:
        while True:
            engine.run(feeds)
    except EngineClosedError:
        pass
threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
engine.run(feeds)
sys.exit(7)
"""
    done = child(script, str(plan))
    assert done.returncode == 7, done.stderr
    assert "PyCUDA" not in done.stderr
