"""Loads a canonical network with the runtime asked for; a runtime is imported only here, only then."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from engines.base import Engine, RuntimeMissingError

_RUNTIMES = {
    # name: (module, class, how to get what it needs)
    "onnxruntime": ("engines.onnxruntime", "OnnxRuntimeEngine", "pip install onnxruntime"),
}


def load_engine(
    path: Path,
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int = 1,
    concurrency: int = 1,
    max_batch_size: int | None = None,
) -> Engine:
    """The canonical network in `path`, ready to run; the caller closes it.

    `max_batch_size` None leaves it to the runtime to say how many rows are best joined on the device. Raises
    RuntimeMissingError when the runtime, its package or the device is not there, and ModelError for a bad file.
    """
    if runtime not in _RUNTIMES:
        raise RuntimeMissingError(f"no runtime is called {runtime!r}; the runtimes are {sorted(_RUNTIMES)}")
    module, name, install = _RUNTIMES[runtime]
    try:
        engine_class = getattr(import_module(module), name)
    except ImportError as error:
        raise RuntimeMissingError(
            f"runtime {runtime!r} needs a package that is missing ({error}): {install}"
        ) from error
    engine = engine_class(path, device=device, threads=threads, concurrency=concurrency, max_batch_size=max_batch_size)
    return cast("Engine", engine)
