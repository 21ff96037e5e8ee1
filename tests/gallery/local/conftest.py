"""A small gallery, and faces whose embedding follows from a number."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local import records, schema
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace, Terms

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def vector() -> Callable[[int], NDArray[np.float32]]:
    """number -> (16,) float32 of unit length, always the same."""

    def make(number: int) -> NDArray[np.float32]:
        row = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
        return np.divide(row, np.linalg.norm(row), dtype=np.float32)

    return make


@pytest.fixture
def new_face(vector: Callable[[int], NDArray[np.float32]]) -> Callable[[int], NewFace]:
    """number -> a face with that embedding, from a picture of its own."""

    def make(number: int) -> NewFace:
        return NewFace(vector(number), hashlib.sha256(b"picture %d" % number).hexdigest(), {"score": 0.75})

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


@pytest.fixture
def gallery(folder: Path) -> Iterator[LocalGallery]:
    """An open gallery with the empty collection `people`."""
    with LocalGallery(folder) as opened:
        opened.create_collection("people", EMBEDDER, DIMENSION)
        yield opened


@pytest.fixture
def names() -> Callable[..., list[str]]:
    """(gallery, embedding) -> whom the embedding is found to be in `people`, best first."""

    def ask(
        gallery: LocalGallery, embedding: NDArray[np.float32], *, top_k: int = 1, threshold: float = 0.99
    ) -> list[str]:
        query = embedding[np.newaxis]
        (found,) = gallery.search("people", query, embedder=EMBEDDER, top_k=top_k, threshold=threshold)
        return [match.identity for match in found]

    return ask


class Worker:
    """Another process with the gallery open; `ask` sends one line and reads one, as `worker.py` describes."""

    def __init__(self, *arguments: str) -> None:
        root = str(WORKER.parents[3])
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def line(self) -> str:
        """The next whole line, "" at the end."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        return line if line.endswith("\n") else ""

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def worker() -> Iterator[Callable[..., Worker]]:
    """Starts worker processes, and ends those that are left."""
    started: list[Worker] = []

    def start(*arguments: str) -> Worker:
        started.append(Worker(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(scope="module")
def people() -> Iterator[sqlite3.Connection]:
    """A database in memory with an empty collection of key 1; whoever writes to it rolls back."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(connection)
    records.add_collection(connection, "people", EMBEDDER, 16, Terms())
    yield connection
    connection.close()
