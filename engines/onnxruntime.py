"""Runs a canonical network with ONNX Runtime, on a CPU or an NVIDIA GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.base import ModelError, RuntimeMissingError, Tensors, TensorSpec
from engines.feeds import count_rows
from engines.load import LoadOptions
from engines.running import RunningCalls

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}
_ERRORS_ONLY = 3
_LIGHT_ROW_BYTES = 128 * 1024


def open_engine(path: Path, options: LoadOptions) -> OnnxRuntimeEngine:
    """The network in `path` as `options` ask for it (see engines/load.py)."""
    return OnnxRuntimeEngine(
        path,
        device=options.device,
        threads=options.threads,
        concurrency=options.concurrency,
        max_batch_size=options.max_batch_size,
    )


def has_cuda() -> bool:
    """Whether this ONNX Runtime is one for NVIDIA GPUs; whether there is a GPU only a session can tell."""
    return "CUDAExecutionProvider" in ort.get_available_providers()


class OnnxRuntimeEngine:
    """An Engine over one ONNX Runtime session.

    `run` may be called from any thread and does not hold the interpreter's lock while the network runs; the arrays it
    returns are fresh ones. It raises ValueError for feeds of a wrong name, dtype, shape or number of rows.
    """

    fault = None

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int = 1,
        concurrency: int = 1,
        max_batch_size: int | None = None,
    ) -> None:
        """Loads `path` on `device` ("cpu" or "cuda:N"), `threads` CPU threads a run.

        `concurrency` only says how many calls run well at once: cores / threads on a CPU. `max_batch_size` None takes
        what is best to join on the device (see `_best_batch_size`). Raises ModelError for a file that is no canonical
        network and RuntimeMissingError for a device that is not there; it never falls back to another one.
        """
        self._session = _open_session(path, device, threads)
        self.inputs = _describe(path, self._session.get_inputs())
        self.outputs = _describe(path, self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.description = {
            "runtime": "onnxruntime",
            "version": ort.__version__,
            "device": device,
            "provider": self._session.get_providers()[0],
            "precision": self.metadata.get("precision", "float32"),
        }
        self.concurrency = concurrency
        self.max_batch_size = _best_batch_size(device, self.inputs) if max_batch_size is None else max_batch_size
        self._output_names = [spec.name for spec in self.outputs]
        self._calls = RunningCalls()

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        count_rows(feeds, self.inputs, self.max_batch_size)
        with self._calls.one():
            arrays = self._session.run(self._output_names, dict(feeds))
        return dict(zip(self._output_names, arrays, strict=True))

    def close(self) -> None:
        """Waits for running calls, then frees the session. May be called again."""
        self._calls.close()
        self._session = None


def _best_batch_size(device: str, inputs: tuple[TensorSpec, ...]) -> int:
    """How many rows are best run together.

    One CPU core gains nothing from a batch: measured ms a row at batch 1/2/4/8, a 640x640 detector takes
    14.4/14.9/15.7/16.6 (its activations leave the cache) and a 112x112 embedder 9.4/9.2/9.1/9.5; so only light rows
    are joined, as many as cost nothing. On CUDA ONNX Runtime plans its convolutions anew at every change of the batch
    size, also back to one it had before (1.2 s for a 112x112 embedder on an H200, 1 ms a run otherwise), so there the
    size never changes.
    """
    if device != "cpu":
        return 1
    row_bytes = sum(math.prod(size or 1 for size in spec.shape) * np.dtype(spec.dtype).itemsize for spec in inputs)
    return 4 if row_bytes <= _LIGHT_ROW_BYTES else 1


def _open_session(path: Path, device: str, threads: int) -> Any:
    providers = _providers(device)
    if not path.is_file():
        raise ModelError(f"there is no model file {path}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait take the cores from other runs: 10.0 photos/s against 14.5 (two threads a run).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(path, options, providers=providers)
    except Exception as error:  # the runtime's errors share no public base class
        raise ModelError(f"{path} cannot be loaded by ONNX Runtime {ort.__version__}: {error}") from error
    wanted, used = providers[0][0], session.get_providers()[0]
    if wanted != used:
        raise RuntimeMissingError(
            f"{device} was asked for, but ONNX Runtime chose {used}: does `nvidia-smi` list such a GPU, and is its "
            "driver new enough?"
        )
    return session


def _providers(device: str) -> list[tuple[str, dict[str, str]]]:
    kind, _, index = device.partition(":")
    if device == "cpu":
        return [("CPUExecutionProvider", {})]
    if kind != "cuda" or not index.isdecimal():
        raise RuntimeMissingError(f"device must be `cpu` or `cuda:N`, not {device!r}")
    if not has_cuda():
        raise RuntimeMissingError(
            f"{device} was asked for, but this ONNX Runtime has no CUDA provider: install `onnxruntime-gpu` in place "
            "of `onnxruntime`, or ask for device `cpu`"
        )
    # TensorFloat-32 rounds to 10 bits: a model that says float32 is to be run in it
    return [("CUDAExecutionProvider", {"device_id": index, "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})]


def _describe(path: Path, nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    specs = []
    for node in nodes:
        shape = tuple(size if isinstance(size, int) else None for size in node.shape)
        if node.type not in _DTYPES or not shape or shape[0] is not None:
            raise ModelError(
                f"{path} is not a canonical network: {node.name!r} is {node.type} of shape {node.shape}, and should "
                f"be one of {sorted(_DTYPES)} with a free first axis; import the model again"
            )
        specs.append(TensorSpec(node.name, _DTYPES[node.type], shape))
    return tuple(specs)
