"""How long an installed service takes until it is ready, against the imports that no such service can avoid."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from app.bench.processes import BenchError, command, environment, free_port, stop, wait_until_ready
from app.bench.statistics import Json, Summary, Target, ratios

IMPORTS = "import cv2, onnxruntime, faiss, fastapi"
LONGER = 2.0


def measure(rounds: int, data_dir: Path) -> Json:
    """Both in turns, after one of each that fills the disk cache and makes the data folder."""
    service_start_s(data_dir)
    imports_s()
    starts, bare = [], []
    for _ in range(rounds):
        starts.append(service_start_s(data_dir))
        bare.append(imports_s())
    return {
        "to_ready_s": asdict(Summary.of(starts)),
        "imports_s": asdict(Summary.of(bare)),
        "imports": IMPORTS,
        "to_imports": asdict(ratios(starts, bare)),
    }


def service_start_s(data_dir: Path) -> float:
    """Seconds from the start of `faceserve serve` to the first 200 of /readyz."""
    port = free_port()
    env = environment(FACESERVE_DATA_DIR=str(data_dir))
    start = time.perf_counter()
    process = subprocess.Popen(command(None, "app.cli", ["serve", "--port", str(port)]), env=env)
    try:
        wait_until_ready(port, process, "/readyz")
        return time.perf_counter() - start
    finally:
        stop(process)


def imports_s() -> float:
    """Seconds of a fresh Python that imports what the service stands on and ends."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", IMPORTS], env=environment(), check=False)
    if done.returncode:
        raise BenchError(f"`{IMPORTS}` ended with exit code {done.returncode}")
    return time.perf_counter() - start


def targets(told: Json) -> list[Target]:
    """The median of the rounds' ratios."""
    return [Target.at_most("time to ready over the bare imports", LONGER, told["to_imports"]["median"])]
