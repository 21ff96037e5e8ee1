"""Answers and bars keep to their own streams."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from app.cli.output import progress, say

with progress() as bar:
    bar.update(bar.add_task("building"), completed=50)
    say({"built": True})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_an_answer_goes_down_the_pipe_while_a_bar_is_on_the_terminal() -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, text=True, check=True
        )
        assert done.stdout == '{"built":true}\n'
        assert b"building" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_nothing_but_the_answer_where_nobody_looks() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"built":true}\n', "")
