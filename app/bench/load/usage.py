"""What the service takes of the machine while it is loaded: cores, memory, and the GPU's time."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from app.bench.memory import PROC, family_of, resident_bytes
from app.bench.processes import stop
from app.bench.statistics import Json

EVERY_MS = 200
QUERY = ["--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", str(EVERY_MS)]


def gpus_here() -> list[str]:
    """Name and driver of each GPU, as nvidia-smi tells them; none where there is no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of nvidia-smi: when it came (perf_counter), which GPU, how busy in percent, and its memory in use."""

    at: float
    gpu: str
    busy_percent: float
    used_mib: float


class GpuWatch:
    """Collects what nvidia-smi says; finds nothing where there is none."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def read(self, line: str) -> None:
        """One line of nvidia-smi's output; one that tells no figures (`[N/A]`) is passed over."""
        gpu, *figures = (part.strip() for part in line.split(","))
        try:
            busy, used = map(float, figures)
        except ValueError:
            return
        self.samples.append(Sample(time.perf_counter(), gpu, busy, used))

    def between(self, start: float, end: float) -> Json:
        """For each GPU, by its index: mean busy share in percent and most memory in use, of two perf_counter times."""
        found: dict[str, list[Sample]] = {}
        for sample in list(self.samples):
            if start <= sample.at <= end:
                found.setdefault(sample.gpu, []).append(sample)
        return {
            gpu: {
                "busy_percent": float(np.mean([sample.busy_percent for sample in samples])),
                "used_mib": max(sample.used_mib for sample in samples),
            }
            for gpu, samples in found.items()
        }


@contextmanager
def watching_gpus() -> Iterator[GpuWatch]:
    """A watch that is fed by nvidia-smi, where there is one, for the length of the block."""
    watch, program = GpuWatch(), shutil.which("nvidia-smi")
    if program is None:
        yield watch
        return
    process = subprocess.Popen([program, *QUERY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    lines = process.stdout

    def follow() -> None:
        for line in lines:
            watch.read(line)

    reader = threading.Thread(target=follow, name="nvidia-smi", daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        stop(process)
        reader.join()
        lines.close()


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time that a process and its descendants have had, and the memory they hold."""

    cpu_s: float
    resident_bytes: int

    @staticmethod
    def of(process: int) -> Usage:
        """Linux only: elsewhere all is 0. Memory that processes share is counted for each of them."""
        family = family_of(process) if PROC.is_dir() else []
        return Usage(sum(map(_cpu_s, family)), sum(map(resident_bytes, family)))


def _cpu_s(process: int) -> float:
    try:
        after_name = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
