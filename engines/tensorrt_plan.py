"""A plan in the GPU's memory, and all in which the versions of TensorRT differ when one is run."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import tensorrt as trt

from engines import cuda
from engines.base import DeviceError, DeviceLostError, DeviceMemoryError, PlanError, TensorSpec
from engines.plan_key import Profile
from engines.tensorrt_log import LOG

_log = logging.getLogger("faceserve.tensorrt")
_SINCE_10 = hasattr(trt.IExecutionContext, "set_device_memory")
_PROFILE = 0  # a plan has one


class LoadedPlan:
    """A deserialised plan, from which any thread that holds the GPU makes execution contexts.

    `buckets` are the batch sizes for which it is worth having one: powers of two within the profile, and its ends.
    """

    def __init__(self, data: bytes, device: str) -> None:
        """Raises PlanError for bytes that this TensorRT cannot run on this GPU, DeviceError and RuntimeMissingError for
        the GPU `device` (`cuda:N`)."""
        self.device = device
        with cuda.primary_context(device):
            self._runtime, self._engine = _deserialise(data)
            try:
                self.inputs, self.outputs = _specs(self._engine)
                self.profile = _profile(self._engine, self.inputs[0].name)
            except BaseException:
                self._forget()
                raise
        self.buckets = buckets(self.profile)

    @property
    def workspace_bytes(self) -> int:
        """The device memory that an execution context needs while it runs, whatever its batch size."""
        engine = self._engine
        return int(engine.device_memory_size_v2 if _SINCE_10 else engine.device_memory_size)

    def execution_context(self, rows: int, workspace: int, stream: int) -> trt.IExecutionContext:
        """A new execution context for batches of `rows` rows on `stream` (a handle), to be run and dropped by the
        calling thread.

        `workspace` is the address of `workspace_bytes` of device memory, which contexts may share that never run at the
        same time.
        """
        engine = self._engine
        with LOG.errors() as said:
            if _SINCE_10:
                context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
            else:
                context = engine.create_execution_context_without_device_memory()
            if context is None:
                raise cuda.device_error(f"TensorRT makes no execution context: {_join(said)}")
            if _SINCE_10:
                context.set_device_memory(workspace, self.workspace_bytes)
            else:
                context.device_memory = workspace
            # only 8.6 does not choose the profile by itself, for a plan whose contexts may not share it
            if context.active_optimization_profile != _PROFILE and not context.set_optimization_profile_async(
                _PROFILE, stream
            ):
                raise PlanError(f"this plan is for one execution context only ({_join(said)}): build it anew")
            for spec in self.inputs:
                shape = (rows, *spec.shape[1:])
                if not context.set_input_shape(spec.name, shape):
                    raise PlanError(f"TensorRT refuses {spec.name!r} of shape {shape}: {_join(said)}")
        return context

    def shapes(self, context: trt.IExecutionContext) -> Mapping[str, tuple[int, ...]]:
        """The shape of each input and output in `context`."""
        return {spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in (*self.inputs, *self.outputs)}

    def close(self) -> None:
        """Frees the device memory, once every execution context is gone. May be called again."""
        if self._engine is None:
            return
        try:
            with cuda.primary_context(self.device):
                self._forget()
        except DeviceError as error:
            _log.warning("a plan was not freed: %s", error)
            self._forget()

    def _forget(self) -> None:
        self._engine = None
        self._runtime = None


def enqueue(context: trt.IExecutionContext, stream: int) -> None:
    """Puts one run of the network on `stream` (a handle); raises a DeviceError where TensorRT refuses."""
    with LOG.errors() as said:
        if not context.execute_async_v3(stream):
            raise cuda.device_error(f"TensorRT does not run the network: {_join(said)}")


def buckets(profile: Profile) -> tuple[int, ...]:
    """Powers of two from the profile's least to its most, and these two."""
    powers = (1 << exponent for exponent in range(profile.most.bit_length()))
    return tuple(sorted({profile.least, profile.most, *(rows for rows in powers if rows >= profile.least)}))


def _deserialise(data: bytes) -> tuple[trt.Runtime, trt.ICudaEngine]:
    with LOG.errors() as said:
        try:
            runtime = trt.Runtime(LOG)
            engine = runtime.deserialize_cuda_engine(data)
        except (TypeError, RuntimeError) as error:  # what the bindings make of a refusal, by version
            engine = None
            said.append(str(error))
    if engine is not None:
        return runtime, engine
    refusal = cuda.device_error(_join(said))
    if isinstance(refusal, (DeviceLostError, DeviceMemoryError)):
        raise refusal
    raise PlanError(
        f"TensorRT {trt.__version__} cannot load this plan, build it anew with `faceserve build`: {refusal}"
    )


def _specs(engine: trt.ICudaEngine) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The inputs and the outputs, in the plan's order."""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = [None if size < 0 else int(size) for size in engine.get_tensor_shape(name)]
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        spec = TensorSpec(name, dtype, (None, *shape[1:]))
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs).append(spec)
    return tuple(inputs), tuple(outputs)


def _profile(engine: trt.ICudaEngine, name: str) -> Profile:
    least, best, most = (int(shape[0]) for shape in engine.get_tensor_profile_shape(name, _PROFILE))
    return Profile(least, best, most)


def _join(said: list[str]) -> str:
    return "; ".join(said) or "it does not say why"
