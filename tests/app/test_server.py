"""The parts of the supervisor that need no service. The rest: tests/integration/test_workers.py."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from app.server import bound_to, free_address
from app.supervisor import LONGEST_PAUSE_S, pause_s

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import app.supervisor
from app.supervisor import READY, Supervisor

app.supervisor.SILENCE_S = {silence_s}

def work(report):
    {work}

def died(pid):
    print("died", flush=True)

supervisor = Supervisor(work, workers={workers}, grace_s={grace_s}, on_death=died)
print("code", supervisor.run(lambda: print("ready", flush=True)))
"""


def supervised(work: str, *, workers: int = 1, grace_s: float = 5, silence_s: float = 60) -> tuple[list[str], str]:
    """The lines printed by a supervisor of workers that run `work`, and what was said on standard error."""
    program = PROGRAM.format(work=work, workers=workers, grace_s=grace_s, silence_s=silence_s)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines(), done.stderr


def first_and_then(first: str, then: str, marker: Path) -> str:
    """Work that differs between the first worker and its successor."""
    return f"if not Path({str(marker)!r}).exists(): Path({str(marker)!r}).touch(); {first}\n    {then}"


STOP_ALL = "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60); return 0"


def test_ready_is_told_once_all_are() -> None:
    lines, errors = supervised(f"os.write(report, READY); time.sleep(0.3); {STOP_ALL}", workers=3)
    assert lines[0] == "ready"
    assert lines.count("ready") == 1
    assert lines[-1] == "code 0"
    assert errors == ""


@pytest.mark.parametrize(
    ("work", "how"),
    [
        ("return 3", "with exit code 3"),
        ("return 0", "with exit code 0"),
        ("sys.exit(5)", "with exit code 5"),
        ("raise KeyError('bug')", "with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "by SIGKILL"),
    ],
)
def test_a_worker_that_cannot_start_ends_it(work: str, how: str) -> None:
    lines, errors = supervised(work, workers=2)
    assert lines[-1] == "code 3"
    assert "ready" not in lines
    assert f"ended {how} before it was ready" in errors
    assert ("KeyError: 'bug'" in errors) == ("bug" in work)


def test_a_worker_that_ignores_the_end_is_made_to() -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(report, READY); time.sleep(0.2)"
    lines, _ = supervised(f"{ignore}; {STOP_ALL}", grace_s=0.3)
    assert lines == ["ready", "died", "code 0"]


def test_a_worker_that_starts_ends_at_once_even_where_no_python_runs() -> None:
    end_soon = "import hashlib, threading; threading.Timer(0.2, os.kill, (os.getppid(), signal.SIGTERM)).start()"
    lines, errors = supervised(f"{end_soon}; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)", grace_s=1000)
    assert lines == ["died", "code 0"]
    assert errors == ""


def test_an_end_that_reaches_a_worker_as_it_is_forked_is_not_lost() -> None:
    program = PROGRAM.format(work="print('worked', flush=True)", workers=1, grace_s=5, silence_s=60)
    told = "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))\n\ndef work"
    command = [sys.executable, "-c", program.replace("def work", told, 1)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["died", "code 3"]
    assert "ended by SIGTERM before it was ready" in done.stderr


def test_a_worker_that_dies_after_it_was_ready_is_replaced(tmp_path: Path) -> None:
    die = "os.write(report, READY); time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)"
    lines, errors = supervised(first_and_then(die, STOP_ALL, tmp_path / "marker"))
    assert lines == ["ready", "died", "died", "code 0"]
    assert "ended by SIGKILL and is replaced" in errors


def test_workers_that_keep_dying_young_are_replaced_ever_more_slowly() -> None:
    assert [pause_s(short_lives, workers=3) for short_lives in range(7)] == [0, 0, 0, 0, 1, 2, 4]
    assert pause_s(100_000, workers=1) == LONGEST_PAUSE_S


def test_the_end_does_not_wait_for_a_pause() -> None:
    program = PROGRAM.format(work="os.write(report, READY); return 4", workers=1, grace_s=5, silence_s=60)
    program = program.replace("def work", "app.supervisor.pause_s = lambda *_: 3600.0\n\ndef work", 1)
    with subprocess.Popen([sys.executable, "-c", program], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().endswith("ended with exit code 4 and is replaced in 3600 s\n")
        process.terminate()
        assert process.communicate(timeout=20)[0].endswith("code 0\n")


def test_a_worker_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    hang = "os.write(report, READY); time.sleep(60)"
    lines, errors = supervised(first_and_then(hang, STOP_ALL, tmp_path / "marker"), silence_s=0.2)
    assert lines == ["ready", "died", "died", "code 0"]
    assert "hangs" in errors


def test_a_connection_that_the_service_closed_does_not_keep_the_next_one_from_starting() -> None:
    family, address = free_address("127.0.0.1", 0)
    with bound_to(family, address), bound_to(family, address, listens=True) as listener:
        listener.listen()
        with socket.create_connection(address) as client:
            accepted, _ = listener.accept()
            accepted.close()
            assert client.recv(1) == b""  # the service closed first: its side waits a minute in TIME_WAIT
    assert free_address(*address) == (family, address)
    with bound_to(family, address), bound_to(family, address, listens=True) as again:
        again.listen()


def test_the_address_is_kept_while_no_worker_listens() -> None:
    family, address = free_address("127.0.0.1", 0)
    with bound_to(family, address), pytest.raises(OSError, match="cannot listen"):
        free_address(*address)


def test_an_address_where_somebody_listens_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{port} .*FACESERVE_PORT"):
            free_address("127.0.0.1", port)
