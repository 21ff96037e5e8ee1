"""A real service in its own processes, and a client on real sockets."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

SERVE = "from app.server import serve; from app.settings import Settings; serve(Settings())"
"""What starts the service."""
START_S = 30.0
LOG = "service.log"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; the answer must be a whole problem."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        assert {"type", "title", "detail", "instance"} <= problem.keys()
        code: str = problem["code"]
        return code


class Client:
    """One keep-alive connection, and so one worker."""

    def __init__(self, port: int, timeout_s: float = 30) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, named)
        answer = self._connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, content: Any, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(content).encode(), content_type="application/json", **headers)

    def patch(self, path: str, content: Any) -> Answer:
        return self.ask("PATCH", path, json.dumps(content).encode(), content_type="application/json")

    def enroll(self, identity: str, image: bytes, **options: Any) -> Answer:
        return self.post("/gallery", {"identity": identity, "image": encoded(image)} | options)

    def names(self, image: bytes, **options: Any) -> list[str | None]:
        answer = self.post("/recognize", {"image": encoded(image)} | options)
        assert answer.status == 200, answer.body
        return [face["identity"] for face in answer.json["faces"]]

    def erase(self, identity: str) -> Answer:
        return self.ask("DELETE", f"/gallery/{quote(identity, safe='')}")

    @property
    def worker(self) -> int:
        """The process that answers on this connection."""
        pid: int = self.get("/info").json["pid"]
        return pid

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Running:
    """A service that answered /readyz."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path

    @property
    def log(self) -> str:
        """What the service has said on standard error."""
        return (self.data_dir / LOG).read_text()

    @contextmanager
    def client(self, timeout_s: float = 30) -> Iterator[Client]:
        client = Client(self.port, timeout_s)
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            yield connection

    @contextmanager
    def one_client_a_worker(self, workers: int) -> Iterator[list[Client]]:
        """Connects until each worker has a client: the kernel chooses who gets a connection."""
        clients: dict[int, Client] = {}
        try:
            while len(clients) < workers:
                client = Client(self.port)
                if client.worker in clients:
                    client.close()
                else:
                    clients[client.worker] = client
            yield list(clients.values())
        finally:
            for client in clients.values():
                client.close()

    def worker_pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def running(data_dir: Path, program: str = SERVE, /, **settings: object) -> Iterator[Running]:
    """Starts the service on a free port and waits until it is ready; stops it at the end if it still runs."""
    port = free_port()
    process = launch(data_dir, program, port=port, **settings)
    service = Running(process, port, data_dir)
    try:
        wait_until_ready(service)
        yield service
    finally:
        if process.poll() is None:
            service.stop()


def launch(data_dir: Path, program: str = SERVE, /, **settings: object) -> subprocess.Popen[bytes]:
    named = {f"FACESERVE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACESERVE_")}
    environment |= {"FACESERVE_DATA_DIR": str(data_dir), "PYTHONWARNINGS": "error"} | named
    with (data_dir / LOG).open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=log)


def wait_until_ready(service: Running) -> None:
    """Waits for every worker: /readyz would do with one."""
    deadline = time.monotonic() + START_S
    while "FaceServe is ready" not in service.log:
        assert service.process.poll() is None, service.log
        assert time.monotonic() < deadline, f"not ready within {START_S} s"
        time.sleep(0.02)
    with service.client() as client:
        assert client.get("/readyz").status == 200


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()
