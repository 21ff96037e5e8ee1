"""CUDA graphs: work recorded from a stream once and launched as one from then on. pycuda has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engines.cuda import bindings, check

_NO_FLAGS = 0


class CudaGraph:
    """Recorded work, ready to launch. It uses the memory that it was recorded with, which must outlive it.

    To be used and closed by the thread that made it.
    """

    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: int) -> None:
        """Puts the work on `stream` (a handle) and returns; raises a DeviceError where the driver refuses."""
        check(bindings().cuGraphLaunch(self._executable, stream), "launching a CUDA graph")

    def close(self) -> None:
        """Frees it; to be called once, when no launch is under way."""
        bindings().cuGraphExecDestroy(self._executable)


def capture(stream: int, work: Callable[[], None]) -> CudaGraph:
    """Records what `work` puts on `stream` (a handle, not the default stream's), which is not run meanwhile.

    Other threads may use the GPU at the same time. Raises what `work` raises, and a DeviceError for work that cannot be
    recorded; the stream is fit for use afterwards.
    """
    driver = bindings()
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    check(driver.cuStreamBeginCapture(stream, mode), "recording a CUDA graph")
    try:
        work()
    except BaseException:
        _, graph = driver.cuStreamEndCapture(stream)
        if graph is not None:
            driver.cuGraphDestroy(graph)
        raise
    graph = check(driver.cuStreamEndCapture(stream), "recording a CUDA graph")
    try:
        return CudaGraph(check(driver.cuGraphInstantiate(graph, _NO_FLAGS), "making a CUDA graph"))
    finally:
        driver.cuGraphDestroy(graph)
