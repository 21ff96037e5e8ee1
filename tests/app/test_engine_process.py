"""The end of an engine process, where nobody may be left to make it end. The rest: tests/integration."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, threading, time
from contextlib import contextmanager
import app.engine_process as engine_process
from app.settings import Settings
from engines.shared.channel import Channel

engine_process.STUCK_S = {stuck_s}
channel = Channel(seats=1, slots=1)

class Stuck:
    fault = None
    longest_run_s = 0.0
    def __init__(self, *_, **__): pass
    def close(self): threading.Event().wait()

class Idle(Stuck):
    def close(self): pass

@contextmanager
def no_engines(*_):
    yield {{}}, {{}}

engine_process.open_engines, engine_process.EngineServer = no_engines, {server}
reader, report = os.pipe()

def live():
    os.close(reader)
    os._exit(engine_process.work(Settings(), channel, 0, report))

{parent}
"""
STOPPING_PARENT = """
if (pid := os.fork()) == 0:
    live()
os.read(reader, 1)
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
VANISHING_PARENT = """
channel.parent = 0
Idle.longest_run_s = 3600.0
if (pid := os.fork()) == 0:
    live()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize(
    ("server", "parent", "code"),
    [
        ("Idle", STOPPING_PARENT, "0"),
        ("Stuck", STOPPING_PARENT, "-14"),  # by SIGALRM
        ("Idle", VANISHING_PARENT, "0"),
    ],
    ids=["told to", "told to, in a run that does not end", "without a parent, in a run that does not end"],
)
def test_it_ends(server: str, parent: str, code: str) -> None:
    program = PROGRAM.format(server=server, parent=parent, stuck_s=1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == [code]
