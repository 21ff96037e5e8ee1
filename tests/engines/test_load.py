"""A runtime is imported when asked for, and refused plainly when it is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.base import ModelError, RuntimeMissingError
from engines.load import LoadOptions, load_engine


def test_options_reach_the_engine(tiny_model: Path) -> None:
    engine = load_engine(tiny_model, LoadOptions(concurrency=3, max_batch_size=2))
    assert (engine.concurrency, engine.max_batch_size) == (3, 2)
    engine.close()


def test_an_unknown_runtime_is_refused_with_the_known_ones(tiny_model: Path) -> None:
    with pytest.raises(RuntimeMissingError, match=r"'tensorflow'.*'onnxruntime'"):
        load_engine(tiny_model, LoadOptions(runtime="tensorflow"))


def test_a_missing_package_is_named_with_the_remedy(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "engines.onnxruntime", raising=False)
    with pytest.raises(RuntimeMissingError, match="pip install onnxruntime"):
        load_engine(tiny_model)


def test_errors_of_the_engine_pass(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_engine(tmp_path / "gone.onnx")


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, engines.load; sys.exit('onnxruntime' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
