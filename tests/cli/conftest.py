"""The command line, run in this process as the `faceserve` script runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


Faceserve = Callable[..., Done]


@pytest.fixture
def faceserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Faceserve:
    """`faceserve("gallery", "list")` in an empty folder, with the data under ./data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACESERVE_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: object) -> Done:
        monkeypatch.setattr("sys.argv", ["faceserve", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        wrote = capsys.readouterr()
        return Done(code or 0, wrote.out, wrote.err)

    return run
