"""The processes of a measurement, each bound to its core."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "FACESERVE_CONCURRENCY": "1"}
ONE_THREAD |= {"FACESERVE_THREADS_PER_RUN": "1", "FACESERVE_WORKERS": "1"}
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(256 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20)}
"""The worker tells glibc so itself; here everyone it is compared with has it too, so that no one gains by it."""
IN_THE_WAY = ("FACESERVE_API_KEY", "FACESERVE_HOST", "FACESERVE_PORT")
START_S, STOP_S = 60, 30


class BenchError(Exception):
    """The measurement cannot go on. The message says what broke."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of what is measured and that of the client; None where processes cannot be bound."""

    work: int | None
    client: int | None

    @staticmethod
    def choose() -> Cores:
        """The first two cores this process may use."""
        if not hasattr(os, "sched_setaffinity"):
            return Cores(None, None)
        allowed = sorted(os.sched_getaffinity(0))
        return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def command(core: int | str | None, module: str, arguments: Sequence[str] = ()) -> list[str]:
    """The command line of a module of ours, bound to a core or to several (`0-3,8`)."""
    pinned = [] if core is None else ["app.bench.pinned", str(core)]
    return [sys.executable, "-m", *pinned, module, *arguments]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, less what would keep the client out; one thread for everything."""
    kept = {name: value for name, value in os.environ.items() if name not in IN_THE_WAY}
    return kept | ONE_THREAD | KEEP_FREED | {"FACESERVE_LOG_LEVEL": "warning"} | extra


class Child:
    """A process that answers each JSON line on its standard input with one on its standard output."""

    def __init__(self, name: str, command_line: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts it. `name` is what the errors call it."""
        self._name = name
        self._process = subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def ask(self, **question: Any) -> Any:
        """The answer to one question. Raises BenchError when the process died instead."""
        self.tell(**question)
        return self.hear()

    def tell(self, **question: Any) -> None:
        """Asks without waiting for the answer, so that several children can work at once."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(orjson.dumps(question) + b"\n")
            self._process.stdin.flush()

    def hear(self) -> Any:
        """The answer to the oldest question that has none yet. Raises BenchError when the process died instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._name} ended with exit code {self._process.wait()}; its errors are above")
        return orjson.loads(line)

    def close(self) -> None:
        """Ends the process by closing its input."""
        self._process.communicate(timeout=STOP_S)


@contextmanager
def child(core: int | None, module: str, *arguments: str, **env: str) -> Iterator[Child]:
    """A module of ours as a child that is ended with the block."""
    running = Child(module, command(core, module, arguments), environment(**env))
    try:
        yield running
    finally:
        running.close()


def answer_each(answer: Callable[[Any], Any]) -> None:
    """The child's end: answers each question on standard input, until that is closed."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(answer(orjson.loads(line)), option=orjson.OPT_NON_STR_KEYS) + b"\n")
        sys.stdout.buffer.flush()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server on this host."""

    port: int
    pid: int

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on a connection of its own: status and JSON answer. For what is not measured."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        try:
            headers = {} if body is None else {"content-type": "application/json"}
            connection.request(method, path, None if body is None else orjson.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, orjson.loads(answer.read())
        finally:
            connection.close()


@contextmanager
def server(
    core: int | None, module: str, *arguments: str, data_dir: Path, ready: str = "/readyz", **env: str
) -> Iterator[Server]:
    """`python -m module arguments --port …`, from its first 200 at `ready` to the end of the block."""
    port = free_port()
    process = subprocess.Popen(
        command(core, module, [*arguments, "--port", str(port)]),
        env=environment(FACESERVE_DATA_DIR=str(data_dir), **env),
    )
    try:
        wait_until_ready(port, process, ready)
        yield Server(port, process.pid)
    finally:
        stop(process)


def wait_until_ready(
    port: int, process: subprocess.Popen[Any], path: str, every_s: float = 0.005, within_s: float = START_S
) -> None:
    """Returns at the first 200. Raises BenchError when the process ends, or `within_s` pass."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the server ended with exit code {process.returncode}; its errors are above")
        if _answers(port, path):
            return
        time.sleep(every_s)
    raise BenchError(f"the server did not answer {path} with 200 within {within_s:g} s")


def stop(process: subprocess.Popen[Any]) -> None:
    """Asks the process to end, and makes it after STOP_S."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
