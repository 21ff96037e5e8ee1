"""`faceserve build` on a GPU: plans that are built, found again, whole, and as good as ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NO_GPU = shutil.which("nvidia-smi") is None or find_spec("tensorrt") is None or find_spec("pycuda") is None
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU with TensorRT")]
QUICK = ("--batch", "1:1:2", "--opt-level", "0")
Faceserve = Callable[..., Any]


@pytest.fixture
def built(faceserve: Faceserve) -> dict[str, Any]:
    """What was told of the shipped embedder's plan."""
    done = faceserve("build", "mobilefacenet_256", *QUICK)
    assert done.code == 0, done.err
    (line,) = done.lines
    return dict(line)


def test_a_plan_is_built_and_then_found(faceserve: Faceserve, built: dict[str, Any]) -> None:
    assert (built["built"], built["label"], built["profile"]) == (True, "mobilefacenet_256 112x112", "1:1:2")
    assert built["parity"]["agrees"], built["parity"]
    (found,) = faceserve("build", "mobilefacenet_256", *QUICK).lines
    assert found == built | {"built": False}
    (anew,) = faceserve("build", "mobilefacenet_256", *QUICK, "--force").lines
    assert (anew["built"], anew["name"]) == (True, built["name"])


def test_a_plan_built_here_is_usable_whole_and_kept(faceserve: Faceserve, built: dict[str, Any]) -> None:
    (listed,) = faceserve("plans", "list").lines
    assert (listed["name"], listed["usable"]) == (built["name"], True)
    assert faceserve("plans", "verify").code == 0
    assert faceserve("plans", "prune").lines == []


def test_a_timing_cache_of_ones_own_is_written(faceserve: Faceserve, tmp_path: Path) -> None:
    own = tmp_path / "own.cache"
    assert faceserve("build", "mobilefacenet_256", *QUICK, "--timing-cache", own).code == 0
    assert own.stat().st_size > 0
    assert not list((tmp_path / "data" / "plans").glob("*.cache"))
