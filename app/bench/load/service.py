"""The service under load: started as the environment sets it, but for what a measurement needs otherwise."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.bench.processes import IN_THE_WAY, BenchError, Server, command, free_port, stop, wait_until_ready
from app.planning import plans_folder
from app.settings import Settings

START_S = 300.0
READY = "FaceServe is ready"
"""What the service says once all its workers listen; /readyz answers for the first of them."""
BATCH = re.compile(r'^faceserve_batch_rows_(sum|count)\{engine="([^"]+)"\} (\S+)$', re.MULTILINE)
TOLD_LINES = 20
Batches = dict[str, tuple[float, float]]
"""Rows and runs of each engine since the start."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is ready. `cold_start_s`: from the start of the process to the first 200 of /readyz, and
    `all_ready_s` to the last worker."""

    server: Server
    cold_start_s: float
    all_ready_s: float

    def batches(self) -> Batches:
        """As /metrics tells them, all workers together."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return batches_in(text)


def batches_in(exposition: str) -> Batches:
    """What Prometheus' text format says of the engines' runs."""
    found: dict[str, dict[str, float]] = {}
    for kind, engine, value in BATCH.findall(exposition):
        found.setdefault(engine, {})[kind] = float(value)
    return {engine: (part["sum"], part["count"]) for engine, part in found.items()}


def mean_rows(before: Batches, after: Batches) -> dict[str, float]:
    """Rows a run between two readings of `batches`, for the engines that ran."""
    found = {}
    for engine, (rows, runs) in after.items():
        old_rows, old_runs = before.get(engine, (0.0, 0.0))
        if runs > old_runs:
            found[engine] = (rows - old_rows) / (runs - old_runs)
    return found


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """This process's environment with `settings` over it, and the gallery in `folder`.

    Plans and imported models stay those of the data folder that is set.
    """
    usual = Settings()
    kept = {name: value for name, value in os.environ.items() if name not in IN_THE_WAY}
    data = {"data_dir": folder, "plans_dir": plans_folder(usual).resolve()}
    named = {f"FACESERVE_{name.upper()}": str(value) for name, value in (data | settings).items()}
    return {"FACESERVE_LOG_LEVEL": "warning"} | kept | named


@contextmanager
def started(cores: str | None, folder: Path, **settings: object) -> Iterator[Running]:
    """`faceserve serve` with a gallery of its own under `folder`, until the end of the block. Raises BenchError."""
    models = Settings().data_dir / "models"
    if models.is_dir() and not (folder / "models").exists():
        (folder / "models").symlink_to(models.resolve(), target_is_directory=True)
    port, log = free_port(), folder / "service.log"
    with log.open("wb") as written:
        start = time.perf_counter()
        process = subprocess.Popen(
            command(cores, "app.cli", ["serve", "--port", str(port)]),
            env=environment(folder, **settings),
            stderr=written,
        )
    try:
        wait_until_ready(port, process, "/readyz", within_s=START_S)
        cold_start_s = time.perf_counter() - start
        _wait_for_all(process, log)
        yield Running(Server(port, process.pid), cold_start_s, time.perf_counter() - start)
    finally:
        stop(process)
        _tell(log)


def _wait_for_all(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while READY not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError("not all workers became ready; what the service said is above")
        time.sleep(0.005)


def _tell(log: Path) -> None:
    """What the service said beside that it is ready: a warning belongs beside the figures."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if READY not in line]
    for line in lines[-TOLD_LINES:]:
        print(f"service: {line}", file=sys.stderr)
