"""Mistakes on the command line: plain lines, an exit code, never a traceback."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Faceserve = Callable[..., Any]


def test_version_and_help(faceserve: Faceserve) -> None:
    done = faceserve("--version")
    assert (done.code, done.out) == (0, f"faceserve {importlib.metadata.version('faceserve')}\n")
    done = faceserve("--help")
    assert done.code == 0
    commands = "serve detect recognize enroll gallery models build plans compare demo bench"
    for command in commands.split():
        assert command in done.out


def test_bench_knows_its_own_flags(faceserve: Faceserve) -> None:
    done = faceserve("bench", "--help")
    assert done.code == 0
    assert "faceserve bench" in done.out
    assert faceserve("bench", "--fly").code == 2


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("serve", "--fly"), ("detect",), ("detect", "nowhere.jpg"), ("enroll", "nowhere"), ("gallery", "show")],
)
def test_wrong_usage_is_code_2(faceserve: Faceserve, arguments: tuple[str, ...]) -> None:
    done = faceserve(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.err


@pytest.mark.parametrize(
    ("flags", "variable"),
    [
        (("--port", "99999"), "FACESERVE_PORT"),
        (("--workers", "0"), "FACESERVE_WORKERS"),
        (("--device", "gpu"), "FACESERVE_DEVICE"),
        (("--log-level", "loud"), "FACESERVE_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_named(faceserve: Faceserve, flags: tuple[str, ...], variable: str) -> None:
    done = faceserve("serve", *flags)
    assert done.code == 2
    assert done.err.startswith(f"faceserve: {variable}: ")
    assert flags[1] in done.err
    assert len(done.err.splitlines()) == 1


def test_an_open_door_is_refused(faceserve: Faceserve) -> None:
    done = faceserve("serve", "--host", "0.0.0.0")
    assert done.code == 2
    assert "FACESERVE_API_KEY" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_flag_overrides_the_environment(faceserve: Faceserve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_PORT", "nonsense")
    done = faceserve("serve", "--port", "8001", "--workers", "0")
    assert "FACESERVE_WORKERS" in done.err
    assert "FACESERVE_PORT" not in done.err


def test_an_unknown_model_is_refused_with_the_known_ones(
    faceserve: Faceserve, monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    monkeypatch.setenv("FACESERVE_EMBEDDER", "facenet")
    done = faceserve("detect", samples / "astronaut.jpg")
    assert done.code == 1
    assert "facenet" in done.err
    assert "mobilefacenet_256" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_gpu_that_is_not_there_is_refused(
    faceserve: Faceserve, monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    monkeypatch.setenv("FACESERVE_DEVICE", "cuda:99")
    done = faceserve("detect", samples / "astronaut.jpg")
    assert done.code == 1
    assert "cuda:99" in done.err
    assert done.out == ""


def test_wrong_options_are_named(faceserve: Faceserve, samples: Path) -> None:
    done = faceserve("detect", "--min-score", "3", "--return", "iris", samples / "astronaut.jpg")
    assert done.code == 2
    assert {line.split(":")[1].strip().split(".")[0] for line in done.err.splitlines()} == {"min_score", "return"}
