"""The command line in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Done, run

Faceserve = Callable[..., Done]


@pytest.fixture
def faceserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Faceserve:
    """`faceserve("gallery", "list")` in an empty folder, with the data under ./data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACESERVE_DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: run(monkeypatch, capsys, *arguments)
