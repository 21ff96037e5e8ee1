"""Loads a canonical network with the runtime asked for; a runtime is imported only here, only then."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from engines.base import Engine, RuntimeMissingError
from engines.plans import Precision, Profile

_RUNTIMES = {
    # name: (module with an `open_engine(path, options)`, how to get what it needs)
    "onnxruntime": ("engines.onnxruntime", "pip install onnxruntime"),
    "tensorrt": ("engines.tensorrt", "pip install 'faceserve[tensorrt]'"),
}


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How networks are loaded; a runtime reads what concerns it.

    `device` is `cpu` or `cuda:N`. `max_batch_size` None leaves it to the runtime to say how many rows are best joined
    on the device. ONNX Runtime reads `threads` (CPU threads of one run) and `concurrency` (runs at once on a CPU).
    TensorRT reads `plans` (the folder that keeps them), `precision` and `profile` (which plan of a network), and
    `contexts` (runs at once).
    """

    runtime: str = "onnxruntime"
    device: str = "cpu"
    max_batch_size: int | None = None
    threads: int = 1
    concurrency: int = 1
    plans: Path = Path("data/plans")
    precision: Precision = "fp16"
    profile: Profile = Profile()  # noqa: RUF009  (frozen)
    contexts: int = 2


def load_engine(path: Path, options: LoadOptions = LoadOptions()) -> Engine:
    """The canonical network in `path`, ready to run; the caller closes it.

    Raises RuntimeMissingError when the runtime, its package or the device is not there, ModelError for a bad file, and
    PlanError where TensorRT has no plan of it for this GPU.
    """
    if options.runtime not in _RUNTIMES:
        raise RuntimeMissingError(f"no runtime is called {options.runtime!r}; the runtimes are {sorted(_RUNTIMES)}")
    module, install = _RUNTIMES[options.runtime]
    try:
        open_engine = import_module(module).open_engine
    except ImportError as error:
        raise RuntimeMissingError(
            f"runtime {options.runtime!r} needs a package that is missing ({error}): {install}"
        ) from error
    return cast("Engine", open_engine(path, options))
