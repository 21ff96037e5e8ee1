"""What HTTP and JSON cost: `/detect` without networks, against a plain FastAPI route without networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from app.bench.processes import Child, Cores, child, server
from app.bench.statistics import Json, Summary, Target, percentiles, ratios
from app.bench.throughput import Plan, load

SIDE_PX = 220
CONNECTIONS = 16
OURS, PLAIN = "ours", "plain"
FASTER = 2.0


def write_picture(folder: Path) -> Path:
    """A BMP of 145 kB, 194 kB in base64: its decoding is a copy, so what is left is the wire."""
    path = folder / "noise.bmp"
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    path.write_bytes(cv2.imencode(".bmp", noise)[1].tobytes())
    return path


def measure(cores: Cores, plan: Plan, folder: Path) -> Json:
    """Both servers live on the same core and take turns."""
    picture, metrics = write_picture(folder), folder / "metrics"
    metrics.mkdir()  # a worker's metrics are files, which costs
    with (
        server(cores.work, "app.bench.netless", data_dir=folder, PROMETHEUS_MULTIPROC_DIR=str(metrics)) as ours,
        server(cores.work, "app.bench.plain", data_dir=folder, ready="/openapi.json") as plain,
        child(cores.client, "app.bench.client") as client,
    ):
        ports = {OURS: ours.port, PLAIN: plain.port}
        for port in ports.values():
            _turn(client, port, picture, 10 * CONNECTIONS)
        rate = 10 * CONNECTIONS / _turn(client, ports[PLAIN], picture, 10 * CONNECTIONS)["seconds"]
        count = max(10 * CONNECTIONS, round(rate * plan.seconds))
        rounds = []
        for number in range(plan.rounds):
            order = (OURS, PLAIN) if number % 2 else (PLAIN, OURS)
            rounds.append({name: _turn(client, ports[name], picture, count) for name in order})
    return _told(rounds, picture)


def _turn(client: Child, port: int, picture: Path, count: int) -> Json:
    return load(client, port, "/detect", [str(picture)], CONNECTIONS, count)


def _told(rounds: Sequence[dict[str, Json]], picture: Path) -> Json:
    rates = {
        name: [len(done["latencies_ms"]) / done["seconds"] for done in (turn[name] for turn in rounds)]
        for name in (OURS, PLAIN)
    }
    latencies = {name: [value for turn in rounds for value in turn[name]["latencies_ms"]] for name in rates}
    told: Json = {
        name: {"requests_per_s": asdict(Summary.of(rates[name])), "latency_ms": percentiles(latencies[name])}
        for name in rates
    }
    return told | {
        "picture_bytes": picture.stat().st_size,
        "connections": CONNECTIONS,
        "to_plain": asdict(ratios(rates[OURS], rates[PLAIN])),
    }


def targets(told: Json) -> list[Target]:
    """The aim is the project's own."""
    return [Target.at_least("requests/s over a plain FastAPI route, 200 kB", FASTER, told["to_plain"]["median"])]
