"""Bars on a terminal; not a byte elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from app.evaluation.progress import bars
with bars() as show:
    for done in range(4):
        show("embedding", done, 3)
"""


def test_silent_where_nobody_looks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_drawn_on_a_terminal_and_on_stderr() -> None:
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, env=environment)
    assert done.stdout == b""
    assert b"embedding" in done.stderr
    assert b"3/3" in done.stderr
