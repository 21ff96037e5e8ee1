"""A milvus-lite as a server in a process of its own, which can be killed, held and started again on the same data."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from gallery.milvus.address import parse
from gallery.milvus.gallery import MilvusGallery
from tests.gallery.contract.conftest import DIMENSION, EMBEDDER

SERVE = """
import sys
from milvus_lite.adapter.grpc.server import run_server
run_server(sys.argv[1], "127.0.0.1", int(sys.argv[2]), max_workers=1)
"""
START_S = 60.0
PATIENCE_S = 60.0
Opened = Callable[..., MilvusGallery]


def until(condition: Callable[..., bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Server:
    """A Milvus on a port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"milvus://127.0.0.1:{self.port}?index=FLAT"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        arguments = [sys.executable, "-c", SERVE, str(self._folder), str(self.port)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, f"not there within {START_S} s"
            time.sleep(0.02)

    def kill(self) -> None:
        """As `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def hold(self) -> None:
        """It stays connected, and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of this process that do it no harm."""
    if sys.platform == "win32":
        pytest.skip("milvus-lite is not installed on Windows")
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'faceserve[milvus]'")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not here: pip install milvus-lite")
    server = Server(tmp_path_factory.mktemp("milvus") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """The same, started again if the test killed it."""
    yield started
    if not started.is_running:
        started.start()


@pytest.fixture
def opened(started: Server) -> Iterator[Opened]:
    """Opens galleries in the server, and closes them."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(MilvusGallery(parse(started.url), **options))


@pytest.fixture
def people() -> str:
    """A name for a collection that no other test uses."""
    return f"people-{uuid4().hex[:12]}"


@pytest.fixture
def gallery(opened: Opened, people: str) -> MilvusGallery:
    """A gallery with that collection, empty."""
    gallery = opened()
    gallery.create_collection(people, EMBEDDER, DIMENSION)
    return gallery
