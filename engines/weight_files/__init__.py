"""Files of weights that are no graph, read without the framework that wrote them. Nothing in a file is executed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files.source import Source

MAX_BYTES = 2**31
MAX_REPEATS = 4
"""How much more than the file the arrays may come to: some share their bytes, and bfloat16 doubles as float32."""
HEAD_BYTES = 4096
PICKLE = re.compile(rb"\x80[\x02-\x05]")
WTS = re.compile(rb"\s*\d+[ \t]*\r?\n\s*\S+[ \t]+\d+[ \t]+[0-9a-fA-F]{8}")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The named arrays of a file.

    `kind`: "torch", "safetensors", "keras" or "wts". `flat`: they have lost their shapes. The arrays are of the
    machine's byte order and must not be written to: some may share memory, as they did where they were saved. bfloat16,
    which NumPy lacks, has become float32. All values are as they were, NaN too.
    """

    path: Path
    kind: str
    arrays: Mapping[str, NDArray[Any]]
    flat: bool = False


def read(path: Path) -> WeightFile | None:
    """The weights in `path`, told by its first bytes, never its name; None for what is no weight file (ONNX, or no file
    at all).

    Read are PyTorch's state dicts (both formats of `torch.save`), safetensors, Keras' HDF5 and tensorrtx' text. The
    memory it takes follows from the file's size, whatever the file claims: about as much as the arrays have. Raises
    ModelError for a file that is damaged, larger than 2 GiB, or holds anything but arrays; RuntimeMissingError where
    reading HDF5 needs a package that is not installed.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            source = Source(file)
            kind, name = _format(source.peek(0, min(source.size, HEAD_BYTES)))
            if not name:
                return None
            if source.size > MAX_BYTES:
                raise ModelError("is larger than the 2 GiB that are read")
            reader: Callable[[Source], Mapping[str, NDArray[Any]]] = import_module(name).read
            arrays = reader(source)
            if sum(array.nbytes for array in arrays.values()) > MAX_REPEATS * source.size:
                raise ModelError("has tensors that are the same bytes too often: save a state dict without shared ones")
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except ModelError as error:
        raise ModelError(f"{path} {error}") from error
    if not arrays:
        raise ModelError(f"{path} has no arrays: expected the weights of a network")
    return WeightFile(path, kind, arrays, flat=kind == "wts")


def _format(head: bytes) -> tuple[str, str]:
    """The kind of file that starts with `head`, and the module that reads it; empty ones where none does."""
    if head.startswith(b"PK\x03\x04"):
        return "torch", "engines.weight_files.torch_archive"
    if PICKLE.match(head):
        return "torch", "engines.weight_files.torch_stream"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras", "engines.weight_files.keras"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_BYTES:
        return "safetensors", "engines.weight_files.safetensors"
    if WTS.match(head):
        return "wts", "engines.weight_files.wts"
    return "", ""
