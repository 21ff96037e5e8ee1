"""The service as processes: a light parent that holds the port, and the workers (docs/adr/0003-workers.md).

The parent imports no network, image or web library, and starts no thread: its workers are forks of it, which saves
each of them the interpreter's start and keeps a restart cheap.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import Settings
from app.supervisor import FAILED_START, Supervisor, Work

if TYPE_CHECKING:
    from engines.shared.channel import Channel

FORKS = hasattr(os, "fork") and hasattr(socket, "SO_REUSEPORT")
MARGIN_S = 5.0


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and returns.

    Says on standard error what went wrong and raises SystemExit(3) when the port is taken or a worker cannot start.
    """
    try:
        family, address = free_address(settings.host, settings.port)
        metrics = _empty_folder(settings.data_dir / "run" / "metrics")
        channels = _channels(settings)
    except OSError as error:
        print(f"faceserve cannot start: {error}", file=sys.stderr)
        raise SystemExit(FAILED_START) from None
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)  # prometheus_client and OpenMP read these when imported
    os.environ["OMP_NUM_THREADS"] = "1"

    def work(report: int) -> int:
        from app.worker import work

        with bound_to(family, address, listens=True) as listener:
            return work(settings, listener, report, channels)

    def announce() -> None:
        print(f"FaceServe is ready: {_url(*address)}/docs", file=sys.stderr, flush=True)

    def forget(pid: int) -> None:
        for file in metrics.glob(f"gauge_live*_{pid}.db"):
            file.unlink()
        for channel in channels:
            if channel.server == pid:
                channel.lose()

    if FORKS:
        grace_s = settings.body_timeout_s + settings.request_timeout_s + MARGIN_S
        beside = _engine_processes(settings, channels)
        supervisor = Supervisor(work, workers=settings.workers, beside=beside, grace_s=grace_s, on_death=forget)
        with bound_to(
            family, address
        ):  # never listens, so no connection comes here: it keeps the port between restarts
            code = supervisor.run(announce)
    else:
        code = _work_here(settings, work, announce)
    if code:
        raise SystemExit(code)


def _work_here(settings: Settings, work: Callable[[int], int], announce: Callable[[], None]) -> int:
    if settings.workers > 1 or settings.engine_processes:
        print(
            "faceserve cannot start: this system runs one process only; set FACESERVE_WORKERS=1 and "
            "FACESERVE_ENGINE_PROCESSES=0",
            file=sys.stderr,
        )
        return FAILED_START
    announce()
    return work(os.open(os.devnull, os.O_WRONLY))


def _channels(settings: Settings) -> list[Channel]:
    """One for each engine process: the workers are shared out among them in turn."""
    if not (FORKS and settings.engine_processes):
        return []
    from engines.shared.channel import Channel

    seats = -(-settings.workers // settings.engine_processes)
    slots = 2 * settings.pipeline_threads  # a detector may run two scales at once
    return [Channel(seats=seats, slots=slots) for _ in range(settings.engine_processes)]


def _engine_processes(settings: Settings, channels: Sequence[Channel]) -> list[Work]:
    def own(channel: Channel, place: int, report: int) -> int:
        from app.engine_process import work

        return work(settings, channel, place, report)

    return [partial(own, channel, place) for place, channel in enumerate(channels)]


def _url(host: str, port: int) -> str:
    """Where a browser on this machine finds the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def free_address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The address to listen on, with a real port for 0. Raises OSError when it is taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): set FACESERVE_PORT or --port") from None
        return family, probe.getsockname()[:2]


def bound_to(family: socket.AddressFamily, address: tuple[str, int], *, listens: bool = False) -> socket.socket:
    """A socket of its own for each worker: the kernel spreads the connections over them.

    With `listens` the connections that it closes first do not keep the address from the next start (for a minute, TCP's
    TIME_WAIT); without, nobody else can take the address while none listens.
    """
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, listens)
    if hasattr(socket, "SO_REUSEPORT"):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


def _empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink()
    return folder
