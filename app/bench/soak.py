"""Thousands of requests of all kinds, and what they leave behind in the worker's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np

from app.bench.client import drive, http_request, image_request
from app.bench.memory import resident_bytes, worker_of
from app.bench.processes import Cores, server
from app.bench.statistics import Json, Target, percentiles

CONNECTIONS = 4
SAMPLES = 60
WARM_UP, WINDOW = 0.2, 0.1
GROWTH_PERCENT = 5.0
KINDS = ("detect", "recognize", "embed", "enroll", "broken", "delete")


def requests(lane: int, photos: Sequence[bytes], faces: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Endless requests of one client, each with the status it must get. `faces`: photos of one person.

    Whom a client enrols it deletes again, so the gallery ends as it began.
    """
    for turn in count():
        photo, name = photos[turn % len(photos)], f"soak-{lane}-{turn}"
        yield 200, image_request("/detect", photo, **{"return": ["landmarks", "quality"]})
        yield 200, image_request("/recognize", photo, top_k=3)
        yield 200, image_request("/embed", photo, encoding="base64")
        yield 201, image_request("/gallery", faces[turn % len(faces)], identity=name)
        yield 422, image_request("/recognize", photo[: len(photo) // 2])
        yield 200, http_request("DELETE", f"/gallery/{name}")


def measure(photos: Sequence[Path], cores: Cores, total: int, data_dir: Path) -> Json:
    """`total` mixed requests over CONNECTIONS connections; the worker's memory is read after each portion."""
    pictures = [photo.read_bytes() for photo in photos]
    with server(cores.work, "app.cli", "serve", data_dir=data_dir) as running:
        faces = [data for data in pictures if _has_one_face(running.port, data)]
        clients = [requests(lane, pictures, faces) for lane in range(CONNECTIONS)]
        worker = worker_of(running.pid)
        turns = max(1, round(total / SAMPLES / CONNECTIONS / len(KINDS)))
        resident, expected, found, latencies = [resident_bytes(worker)], Counter[int](), Counter[int](), []
        while expected.total() < total:
            portions = [list(islice(client, turns * len(KINDS))) for client in clients]
            done = drive(running.port, [[data for _, data in portion] for portion in portions])
            expected.update(status for portion in portions for status, _ in portion)
            found.update(done.statuses)
            latencies += done.latencies_ms
            resident.append(resident_bytes(worker))
    return {
        "requests": expected.total(),
        "connections": CONNECTIONS,
        "kinds": KINDS,
        "statuses": {str(status): times for status, times in sorted(found.items())},
        "unexpected": (found - expected).total(),
        "latency_ms": percentiles(latencies),
        "resident_bytes": resident,
        "growth_percent": growth_percent(resident),
    }


def growth_percent(resident: Sequence[int]) -> float:
    """The last tenth of the samples over the tenth after the warm-up, medians, in percent."""
    window = max(1, round(WINDOW * len(resident)))
    start = round(WARM_UP * len(resident))
    before, after = np.median(resident[start : start + window]), np.median(resident[-window:])
    return float(100 * (after / before - 1))


def _has_one_face(port: int, data: bytes) -> bool:
    """Whether enrolling it works; whom it enrols is deleted at once."""
    enrolled = drive(port, [[image_request("/gallery", data, identity="soak")]]).statuses
    if 201 not in enrolled:
        return False
    drive(port, [[http_request("DELETE", "/gallery/soak")]])
    return True


def targets(told: Json) -> list[Target]:
    """Flat memory, and every answer the one expected."""
    return [
        Target.at_most("growth of the worker's memory after warm-up, %", GROWTH_PERCENT, told["growth_percent"]),
        Target.at_most("answers of another status than expected", 0, told["unexpected"]),
    ]
