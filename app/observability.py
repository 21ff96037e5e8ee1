"""What the operators see: Prometheus metrics of all workers together, and one plain log."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable under which a worker's metrics go to files that every worker can read. prometheus_client
reads it once, at import."""

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64)

REQUESTS = Counter("faceserve_requests", "Requests answered", ["route", "status"])
DURATION = Histogram(
    "faceserve_request_seconds", "From the head of a request to its answer", ["route"], buckets=SECONDS
)
IN_FLIGHT = Gauge("faceserve_requests_in_flight", "Requests not answered yet", multiprocess_mode="livesum")
REJECTED = Counter("faceserve_rejected", "Requests answered with a problem", ["code"])
BATCH = Histogram("faceserve_batch_rows", "Rows of one engine run", ["engine"], buckets=ROWS)
FACES = Counter("faceserve_faces", "Faces in answers", ["route"])
CLIENT_GONE = 499
"""Stands in the metrics for the status of a request whose client left before the answer."""

log = logging.getLogger("faceserve")
_requests = lru_cache(maxsize=1024)(REQUESTS.labels)
_duration = lru_cache(maxsize=256)(DURATION.labels)
_batch = lru_cache(maxsize=64)(BATCH.labels)
_faces = lru_cache(maxsize=64)(FACES.labels)


def begin() -> None:
    IN_FLIGHT.inc()


def end(route: str, status: int, seconds: float) -> None:
    """`route` is the template (`/gallery/{identity}`), never a client's path: labels must stay few."""
    IN_FLIGHT.dec()
    _requests(route, status).inc()
    _duration(route).observe(seconds)


def rejected(code: str) -> None:
    REJECTED.labels(code).inc()


def batch_ran(engine: str, rows: int) -> None:
    """For `open_service(on_batch=…)`; called in the engines' threads."""
    _batch(engine).observe(rows)


def faces_answered(route: str, count: int) -> None:
    _faces(route).inc(count)


def exposition() -> bytes:
    """Every metric in Prometheus' text format, summed over the workers. Reads files: not for the event loop."""
    if DIRECTORY not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def configure_logging(level: str) -> None:
    """One line an event, on standard error. Bodies, keys and names are never logged."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", level=level.upper(), force=True
    )
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
