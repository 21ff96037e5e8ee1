"""The runtimes that take part, each a process: ours in this Python, PyTorch in whatever Python has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from app.bench import engines
from app.bench.engines.options import EngineOptions
from app.bench.processes import BenchError, Child, command, environment
from engines.plans import Precision

CONTEST = Path(engines.__file__).parent / "pytorch" / "contest.py"
ASKED_OF_TORCH = "import torch; print(torch.cuda.is_available())"
PROBE_S = 120
OF_THIS_PYTHON = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH")
"""What leads this Python to its libraries would lead another one astray."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """How to start one. `name` is what the tables call it: `TensorRT fp16`.

    `takes_recipes`: it cannot read ONNX, and needs a network's recipe.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    takes_recipes: bool = False


class Running:
    """A runtime's process. It is started by the first question, and anew by the next one after it died."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.takes_recipes = runtime.name, runtime.takes_recipes
        self._runtime = runtime
        self._child: Child | None = None

    def ask(self, **question: Any) -> Any:
        """The answer; BenchError when the process died instead."""
        if self._child is None:
            self._child = Child(self.name, self._runtime.command, self._runtime.env)
        try:
            return self._child.ask(**question)
        except BenchError:
            self.close()
            raise

    def close(self) -> None:
        """Ends the process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.close()


def tensorrt(options: EngineOptions) -> Runtime:
    """TensorRT in the options' precision."""
    return Runtime(f"TensorRT {options.precision}", _own(options), environment())


def onnxruntime(device: str) -> Runtime:
    """ONNX Runtime on that device, or on one CPU core where it cannot use it."""
    return Runtime("ONNX Runtime", _own(EngineOptions("onnxruntime", device)), environment())


def pytorch(python: str, precision: Precision) -> Runtime:
    """PyTorch eager in the Python given."""
    return Runtime(
        f"PyTorch {precision}", [python, str(CONTEST), precision], _environment_of(python), takes_recipes=True
    )


def find_torch(asked: Path | None = None) -> str:
    """A Python that has PyTorch: the one asked for, else this one or `python3` on PATH, best one whose PyTorch sees a
    GPU. Raises BenchError when there is none."""
    candidates = [str(asked)] if asked else [sys.executable, *filter(None, [shutil.which("python3")])]
    answers = {python: _torch_in(python) for python in candidates}
    for wanted in ("True", "False"):
        for python, found in answers.items():
            if found == wanted:
                return python
    raise BenchError(
        f"PyTorch cannot be imported in {' or '.join(answers)}: name a Python that has it (--torch-python)"
    )


def _torch_in(python: str) -> str:
    """`True` or `False`, whether its PyTorch sees a GPU; empty without PyTorch."""
    question = [python, "-c", ASKED_OF_TORCH]
    try:
        done = subprocess.run(
            question, env=_environment_of(python), capture_output=True, text=True, check=False, timeout=PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _own(options: EngineOptions) -> list[str]:
    return command(None, "app.bench.engines.child", [orjson.dumps(asdict(options)).decode()])


def _environment_of(python: str) -> dict[str, str]:
    kept = environment()
    if Path(python) != Path(sys.executable):
        kept = {name: value for name, value in kept.items() if name not in OF_THIS_PYTHON}
    return kept
