"""The README tells the truth: its commands run, its answer is the service's, its tables are the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
LEFT_OUT = {
    "make serve": "makes a virtual environment of its own; what it starts, `faceserve serve`, is started below",
    "make test": "is what runs this",
    ".venv/bin/pip install -e '.[tensorrt]'": "needs an NVIDIA GPU; the tests marked `gpu` run what it leads to",
    ".venv/bin/pip install -e '.[eval]'": "installs what the tests have already",
    "faceserve eval": "needs photos of many people; tests/cli/test_eval.py runs the same commands on made-up ones",
    "faceserve models pull": "fetches models; tests/engines/downloads pull from a server on this machine",
    "docker build": "needs a container engine; tests/test_docker.py reads the recipe",
}
ADDRESS = "http://127.0.0.1:8000"
PASSING = ("request_id", "face_id", "timings_ms")
"""Parts of an answer that are new each time; only their presence counts."""


def blocks() -> list[tuple[str, str]]:
    """(language, text) of every fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def is_left_out(text: str) -> bool:
    return text.startswith(tuple(LEFT_OUT))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder that looks like a checkout to the README's commands."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "app" / "samples", folder / "app" / "samples")
    return folder


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("FACESERVE_")}
    return bare | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def address(home: Path, environment: dict[str, str]) -> Iterator[str]:
    """A service as `make serve` starts it, but on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "service.log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            ["faceserve", "serve", "--port", str(port)], cwd=home, env=environment, stdout=out, stderr=out
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", service, log)
        assert f"http://127.0.0.1:{port}/docs" in log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        service.terminate()
        service.wait(30)


def _wait_until_ready(url: str, service: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert service.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"not ready after 30 s: {log.read_text()}")


def same(shown: Any, got: Any) -> bool:
    """Equal but for what passes and for the last digits of numbers, which differ between processors."""
    if isinstance(shown, dict):
        return shown.keys() == got.keys() and all(key in PASSING or same(shown[key], got[key]) for key in shown)
    if isinstance(shown, list):
        return len(shown) == len(got) and all(map(same, shown, got))
    if isinstance(shown, float):
        return bool(got == pytest.approx(shown, rel=1e-2, abs=1e-2))
    return bool(shown == got)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's requests are made with curl")
def test_every_command_runs_as_shown_and_answers_as_shown(
    home: Path, environment: dict[str, str], address: str
) -> None:
    answer = ""
    ran = 0
    for language, text in blocks():
        if language == "json":
            assert same(json.loads(text), json.loads(answer)), f"the README shows\n{text}\nthe answer is\n{answer}"
        elif not is_left_out(text):
            shell = {"sh": ["sh", "-euc"], "python": [sys.executable, "-c"]}[language]
            command = [*shell, text.replace(ADDRESS, address)]
            done = subprocess.run(command, check=False, cwd=home, env=environment, capture_output=True, text=True)
            answer = done.stdout
            assert done.returncode == 0, f"{text}\n{answer}\n{done.stderr}"
            assert '"urn:faceserve:problem' not in answer, f"{text}\n{answer}"
            ran += 1
    assert ran == 4
    assert {"faces.jpg", "demo", "faces.ndjson"} <= {path.name for path in home.iterdir()}
    with urllib.request.urlopen(f"{address}/gallery?collection=pioneers") as page:  # beside the service
        enrolled = {identity["identity"] for identity in json.load(page)["identities"]}
    assert enrolled == {"astronaut", "grace_hopper"}


def test_what_is_left_out_is_there_and_has_its_reason() -> None:
    unused = [start for start in LEFT_OUT if not any(text.startswith(start) for _, text in blocks())]
    assert unused == []


def test_the_comparison_sees_a_difference() -> None:
    shown = {"request_id": "a", "faces": [{"identity": "x", "score": 0.99}]}
    assert same(shown, {"request_id": "b", "faces": [{"identity": "x", "score": 0.991}]})
    assert not same(shown, {"request_id": "b", "faces": [{"identity": "y", "score": 0.99}]})
    assert not same(shown, {"request_id": "b", "faces": [{"identity": "x", "score": 0.9}]})
    assert not same(shown, {"request_id": "b", "faces": []})
    assert not same(shown, {"faces": [{"identity": "x", "score": 0.99}]})


def settings_table() -> str:
    rows = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        what = str(field.description)
        if said := re.search(r" \(default: (.+)\)$", what):
            default, what = said[1], what[: said.start()]
        else:
            default = "" if field.default is None else f"`{str(field.default).lower()}`"
        rows.append(f"| `FACESERVE_{name.upper()}` | {default} | {what} |")
    return "\n".join(rows)


def test_the_settings_table_is_the_code_s() -> None:
    assert settings_table() in README, f"the README's table should be\n\n{settings_table()}\n"


def test_the_routes_table_is_the_code_s() -> None:
    said = {
        f"{method} {path}"
        for methods, path in re.findall(r"`((?:[A-Z]+/?)+) (/[^` ]*)`", README)
        for method in methods.split("/")
    }
    paths = create_app(Settings()).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert said - {"GET /docs", "GET /openapi.json"} == served


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", README))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
