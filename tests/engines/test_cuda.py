"""What there is to say of GPUs on a machine that has none, or that lacks the packages for them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from engines import cuda
from engines.base import DeviceError, DeviceLostError, DeviceMemoryError, RuntimeMissingError
from tests.engines.gpu import has_tensorrt

on_a_gpu = pytest.mark.skipif(not has_tensorrt(), reason="needs an NVIDIA GPU with TensorRT")


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:", "cuda:x", "gpu:0", "cuda:-1"])
def test_a_device_is_named_as_cuda_and_a_number(device: str) -> None:
    with pytest.raises(RuntimeMissingError, match=f"`cuda:N`, such as `cuda:0`, not on '{device}'"):
        cuda.gpu(device)


@pytest.mark.skipif(find_spec("pycuda") is not None, reason="pycuda is installed here")
def test_a_missing_package_is_named_with_what_brings_it() -> None:
    for ask in (cuda.gpus, lambda: cuda.gpu("cuda:0"), cuda.bindings, cuda.primary_context("cuda:0").__enter__):
        with pytest.raises(RuntimeMissingError, match=r"pip install 'faceserve\[tensorrt\]'"):
            ask()


@pytest.mark.gpu
@on_a_gpu
def test_the_gpu_is_described() -> None:
    first = cuda.gpus()[0]
    assert first == cuda.gpu("cuda:0")
    assert first.name
    assert float(first.capability) >= 5
    assert first.memory_bytes > 1 << 30


@pytest.mark.gpu
@on_a_gpu
def test_holding_it_twice_leaves_the_thread_as_it_was() -> None:
    with cuda.primary_context("cuda:0"):
        outer = cuda.bindings().cuCtxGetCurrent()
        with cuda.primary_context("cuda:0"):
            memory = cuda.pycuda().mem_alloc(1024)
            memory.free()
        assert [int(each) for each in cuda.bindings().cuCtxGetCurrent()] == [int(each) for each in outer]
    _, left = cuda.bindings().cuCtxGetCurrent()
    assert int(left) == 0


@pytest.mark.gpu
@on_a_gpu
def test_the_drivers_errors_are_told_apart() -> None:
    with cuda.primary_context("cuda:0"):
        with pytest.raises(DeviceMemoryError, match=r"of \d+ MiB are free\): eating"), cuda.reported("eating"):
            cuda.pycuda().mem_alloc(1 << 50)
        with pytest.raises(DeviceError, match=r"asking: .*CUDA_ERROR") as caught:
            cuda.check(cuda.bindings().cuDeviceGet(999), "asking")
        assert type(caught.value) is DeviceError
        lost = cuda.device_error("Cuda Runtime (an illegal memory access was encountered)")
        assert isinstance(lost, DeviceLostError)
