"""The NVIDIA GPUs of this machine: which are there, how a thread takes hold of one, and what their errors mean.

pycuda and cuda-bindings are imported when the first function is called. From then on the process has CUDA started, and
must not fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from engines.base import DeviceError, DeviceLostError, DeviceMemoryError, RuntimeMissingError

_INSTALL = "pip install 'faceserve[tensorrt]'"
_REMEDY = (
    "does `nvidia-smi` list a GPU? If not, install NVIDIA's driver, or start the container with `--gpus all`; or ask "
    "for device `cpu`"
)
_LOST = (  # after any of these every call in the process gives the same error again
    "DEINITIALIZED",
    "ECC_UNCORRECTABLE",
    "NVLINK_UNCORRECTABLE",
    "CONTAINED",
    "ILLEGAL_ADDRESS",
    "LAUNCH_TIMEOUT",
    "CONTEXT_IS_DESTROYED",
    "ASSERT",
    "HARDWARE_STACK_ERROR",
    "ILLEGAL_INSTRUCTION",
    "MISALIGNED_ADDRESS",
    "INVALID_ADDRESS_SPACE",
    "INVALID_PC",
    "LAUNCH_FAILED",
    "TENSOR_MEMORY_LEAK",
    "MPS_CLIENT_TERMINATED",
    "EXTERNAL_DEVICE",
    "UNKNOWN",
)
_OUT_OF_MEMORY = ("out of memory", "out_of_memory", "could not be allocated")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver counts them in this process; `capability` is its compute capability, such as `9.0`."""

    index: int
    name: str
    capability: str
    memory_bytes: int


def gpus() -> list[Gpu]:
    """The GPUs that this process may use, none where there is a driver but no GPU. Starts CUDA in this process.

    Raises RuntimeMissingError where pycuda, cuda-bindings or the driver is missing.
    """
    cuda = pycuda()
    found = []
    for index in range(cuda.Device.count() if _start() else 0):
        card = cuda.Device(index)
        major, minor = card.compute_capability()
        found.append(Gpu(index, card.name(), f"{major}.{minor}", card.total_memory()))
    return found


def gpu(device: str) -> Gpu:
    """The GPU that `device` (`cuda:N`) names. Raises RuntimeMissingError with what is there and what to do."""
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index.isdecimal():
        raise RuntimeMissingError(f"TensorRT runs on a device `cuda:N`, such as `cuda:0`, not on {device!r}")
    there = gpus()
    if not there:
        raise RuntimeMissingError(f"{device} was asked for, but there is no GPU: {_REMEDY}")
    if int(index) >= len(there):
        names = ", ".join(f"cuda:{each.index} ({each.name})" for each in there)
        raise RuntimeMissingError(f"{device} was asked for, but the GPUs here are {names}: ask for one of these")
    return there[int(index)]


@cache
def pycuda() -> Any:
    """The module pycuda.driver. Raises RuntimeMissingError where it or the driver it loads is missing."""
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # else every kernel of every library is loaded at start
    try:
        import pycuda.driver
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(f"the GPU needs a package that is missing ({error}): {_INSTALL}") from error
    except ImportError as error:
        raise RuntimeMissingError(f"NVIDIA's driver cannot be loaded ({error}): {_REMEDY}") from error
    return pycuda.driver


@cache
def bindings() -> Any:
    """The module cuda.bindings.driver, for what pycuda lacks. Raises RuntimeMissingError where it is missing."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise RuntimeMissingError(f"the GPU needs a package that is missing ({error}): {_INSTALL}") from error
    return driver


@contextmanager
def primary_context(device: str) -> Iterator[None]:
    """Has the calling thread hold the GPU `device` (`cuda:N`) within the block.

    What pycuda makes within the block belongs to this thread, and is to be freed within the block. Blocks may be
    nested. Raises RuntimeMissingError where there is no such GPU, and a DeviceError where it cannot be taken hold of.
    """
    cuda, index = pycuda(), gpu(device).index
    with reported(f"{device} cannot be used"):
        _keep(index)
        card = cuda.Device(index)
        context = card.retain_primary_context()
        context.push()
    try:
        yield
    finally:
        # A lost GPU may refuse to be let go; detach clears pycuda's own stack then, which would else abort the process.
        with suppress(cuda.Error):
            context.pop()
        with suppress(cuda.Error):
            context.detach()
        # detach makes the context current once more and counts on its end to undo that, but a primary one lives on.
        bindings().cuCtxPopCurrent()


@contextmanager
def reported(doing: str) -> Iterator[None]:
    """Within the block, on a thread that holds a GPU, pycuda's errors become a DeviceError that begins with `doing`."""
    try:
        yield
    except pycuda().Error as error:
        raise device_error(f"{doing}: {error}") from error


def check(result: tuple[Any, ...], doing: str) -> Any:
    """The value, if any, in what a function of cuda-bindings returned; a DeviceError that begins with `doing` where the
    function failed."""
    code, *values = result
    if int(code):
        _, name = bindings().cuGetErrorName(code)
        _, text = bindings().cuGetErrorString(code)
        raise device_error(f"{doing}: {_decode(text)} ({_decode(name)})")
    return values[0] if values else None


def device_error(said: str) -> DeviceError:
    """The error to raise for what pycuda, cuda-bindings or TensorRT `said`, on a thread that holds a GPU.

    DeviceLostError where its words or the driver's next answer say that the error stays, DeviceMemoryError with what is
    free and what to do where memory ran out, else DeviceError.
    """
    code, free, total = bindings().cuMemGetInfo()
    words, lost = said.lower(), _lost()
    if int(code) in lost or any(text in words for text in lost.values()):
        return DeviceLostError(f"the GPU is lost to this process, only a new one can use it again: {said}")
    if any(text in words for text in _OUT_OF_MEMORY):
        room = "" if free is None else f" ({free >> 20} of {total >> 20} MiB are free)"
        return DeviceMemoryError(
            f"the GPU's memory is too small{room}: {said}. Ask for fewer contexts or smaller batches, or see with "
            "`nvidia-smi` who else uses it"
        )
    return DeviceError(said)


@cache
def _start() -> bool:
    """Starts CUDA; False where there is a driver but no GPU."""
    try:
        pycuda().init()
    except pycuda().RuntimeError as error:
        if "no cuda-capable device" in str(error).lower():
            return False
        raise RuntimeMissingError(f"CUDA does not start ({error}): {_REMEDY}") from error
    except pycuda().Error as error:
        raise RuntimeMissingError(f"CUDA does not start ({error}): {_REMEDY}") from error
    return True


@cache
def _keep(index: int) -> None:
    """Keeps the GPU's primary context to the end of the process: TensorRT has state in it, and another takes long."""
    handle = check(bindings().cuDeviceGet(index), "finding the GPU")
    check(bindings().cuDevicePrimaryCtxRetain(handle), "taking hold of the GPU")


@cache
def _lost() -> dict[int, str]:
    """The codes of errors that stay, and their words in small letters."""
    codes = [getattr(bindings().CUresult, f"CUDA_ERROR_{name}", None) for name in _LOST]
    texts = {int(code): bindings().cuGetErrorString(code)[1] for code in codes if code is not None}
    return {code: _decode(text).lower() for code, text in texts.items() if text}


def _decode(text: bytes | None) -> str:
    return text.decode() if text else "?"
