"""`faceserve bench` without a process of its own; what it measures still has its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.command import Done, run


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`bench("load", "--quick")`, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: run(monkeypatch, capsys, "bench", *arguments)
