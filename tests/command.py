"""The command line, run in this process as the `faceserve` script runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from app.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """`faceserve` with these arguments, in the environment and folder of the test."""
    monkeypatch.setattr("sys.argv", ["faceserve", *map(str, arguments)])
    capsys.readouterr()
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    wrote = capsys.readouterr()
    return Done(code or 0, wrote.out, wrote.err)
