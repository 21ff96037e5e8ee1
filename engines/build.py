"""Compiles a canonical network into a plan, with the builder of whatever TensorRT is installed.

TensorRT's versions differ: 8.6 knows types as constraints only, 10 adds strongly typed networks and tells of its
progress, 11 has nothing but strongly typed networks. What some version lacks is looked for before it is touched.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import cuda
from engines.base import DeviceError, EngineError, ModelError, RuntimeMissingError
from engines.plans import Precision, Profile

if TYPE_CHECKING:
    from onnx import ModelProto

OWN_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
"""Kernels of TensorRT's own. Without cuBLAS and cuDNN, the default from 10 on, nobody needs to have those."""
MESSAGES_SHOWN = 10

OnProgress = Callable[[str, float], None]

_one_at_a_time = threading.Lock()  # a build measures kernels, and wants the GPU to itself


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is built. `workspace_bytes` is the most GPU memory a layer may use for intermediate results; `level`
    is TensorRT's optimisation level, 0 (built soonest) to 5 (runs soonest), None for its default."""

    precision: Precision = "fp16"
    profile: Profile = Profile()  # noqa: RUF009  (frozen)
    workspace_bytes: int = 4 << 30
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, with the timing cache to build the next one from: what was given and what was measured now.

    `layers` counts the plan's, after fusion; `context_bytes` is the GPU memory that one execution context needs for the
    most rows; `held_layers` is how many layers were held to float32 by constraints, none in strongly typed networks.
    """

    plan: bytes
    timing_cache: bytes
    layers: int
    context_bytes: int
    held_layers: int
    seconds: float


def build_plan(
    model: ModelProto | Path,
    options: BuildOptions,
    *,
    device: str = "cuda:0",
    timing_cache: bytes = b"",
    on_progress: OnProgress | None = None,
) -> Built:
    """The canonical network `model` compiled for the GPU `device` ("cuda:N"), in seconds to minutes.

    Bytes in, bytes out: nothing is written. A timing cache of another GPU or version counts for nothing.
    `on_progress(phase, share)` hears of "parsing" and "building" with the share done, 0..1, and from TensorRT 10 on of
    the builder's own phases too; it must not raise, and may be called from other threads. May be called from any
    thread; the builds of one process wait for each other.

    Raises ModelError, in TensorRT's words, for a network that it cannot read or compile; RuntimeMissingError when a
    package or the GPU is missing, DeviceMemoryError when the GPU's memory does not do, DeviceError when the GPU fails.
    """
    try:
        import tensorrt

        from engines import graphs
        from engines.precision import float16_names, for_tensorrt
        from engines.tensorrt_log import LOG
    except ImportError as error:
        raise RuntimeMissingError(
            f"building plans needs a package that is missing ({error}): pip install 'faceserve[tensorrt]'"
        ) from error
    typed = for_tensorrt(graphs.load(model) if isinstance(model, Path) else model, options.precision)
    narrow = float16_names(typed)
    with _one_at_a_time, cuda.primary_context(device), LOG.errors() as errors:
        # Named nowhere, so that all that it made is freed before the block lets the GPU go.
        return _Build(tensorrt, LOG, errors, options, on_progress or _ignore).run(typed, narrow, timing_cache)


def _ignore(phase: str, share: float) -> None:
    pass


class _Build:
    """One build; lives on one thread, which holds the GPU."""

    def __init__(self, trt: Any, log: Any, errors: list[str], options: BuildOptions, on_progress: OnProgress) -> None:
        """`errors` gets what TensorRT complains of to `log`."""
        self._trt = trt
        self._log = log
        self._errors = errors
        self._options = options
        self._on_progress = on_progress
        self._strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        try:
            self._builder = trt.Builder(log)
        except TypeError as error:  # the binding's word for a null pointer
            raise DeviceError(self._message("cannot use the GPU")) from error

    def run(self, model: ModelProto, narrow: set[str], timing_cache: bytes) -> Built:
        """Builds `model`, whose nodes and weights named `narrow` are float16."""
        begun = time.monotonic()
        self._on_progress("parsing", 0.0)
        network = self._parse(model)
        config = self._configure(network)
        held = 0 if self._strongly_typed or not narrow else self._hold_types(network, config, narrow)
        self._attach(config, timing_cache)
        monitor = _monitor(self._trt, self._on_progress)
        if monitor is not None:
            config.progress_monitor = monitor
        self._on_progress("building", 0.0)
        memory = self._builder.build_serialized_network(network, config)
        if memory is None:
            raise self._failure("cannot compile the network")
        plan = bytes(memory)
        engine = self._trt.Runtime(self._log).deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failure("cannot load the plan that it has just built")
        self._on_progress("building", 1.0)
        return Built(
            plan=plan,
            timing_cache=bytes(config.get_timing_cache().serialize()),
            layers=engine.num_layers,
            context_bytes=_context_bytes(engine),
            held_layers=held,
            seconds=time.monotonic() - begun,
        )

    def _parse(self, model: ModelProto) -> Any:
        flags = self._trt.NetworkDefinitionCreationFlag
        flag = flags.STRONGLY_TYPED if self._strongly_typed else flags.EXPLICIT_BATCH
        network = self._builder.create_network(1 << int(flag))
        parser = self._trt.OnnxParser(network, self._log)
        if not parser.parse(model.SerializeToString()):
            names = {index: f"{node.op_type} {node.name!r}" for index, node in enumerate(model.graph.node)}
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            said = [f"{names.get(error.node(), 'the graph')}: {error.desc()}" for error in errors]
            raise ModelError(self._message("cannot read the network", *said))
        return network

    def _configure(self, network: Any) -> Any:
        trt, options = self._trt, self._options
        config = self._builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        config.clear_flag(trt.BuilderFlag.TF32)  # rounds to 10 bits what the graph calls float32
        own = [getattr(trt.TacticSource, name) for name in OWN_TACTICS if hasattr(trt.TacticSource, name)]
        config.set_tactic_sources(sum(1 << int(source) for source in own))
        if hasattr(trt, "PreviewFeature") and hasattr(trt.PreviewFeature, "PROFILE_SHARING_0806"):
            # 8.6 else gives the profile to one execution context and refuses it to all others; later versions never do
            config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
        if options.level is not None:
            config.builder_optimization_level = options.level
        profile = self._builder.create_optimization_profile()
        for tensor in (network.get_input(index) for index in range(network.num_inputs)):
            batch, *row = tensor.shape
            if batch != -1 or -1 in row:
                raise ModelError(
                    f"input {tensor.name!r} has the shape {tuple(tensor.shape)}: a canonical network leaves the batch "
                    "free (-1), and nothing else; import the model again"
                )
            sizes = options.profile
            profile.set_shape(tensor.name, *((rows, *row) for rows in (sizes.least, sizes.best, sizes.most)))
        config.add_optimization_profile(profile)
        return config

    def _hold_types(self, network: Any, config: Any, narrow: set[str]) -> int:
        """Has every layer compute in its own type, where types do not bind; returns how many were held to float32.

        Of the float16 ones only the products are held: a builder that need not try them in float32 as well is done in
        half the time, and how the rest is computed costs little and loses nothing.
        """
        trt = self._trt
        products = {trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY}
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        held = 0
        for layer in (network.get_layer(index) for index in range(network.num_layers)):
            # The parser names a layer after its node or weight, and numbers further layers of the same one.
            if layer.name in narrow or re.sub(r"_\d+$", "", layer.name) in narrow:
                if layer.type in products:
                    layer.precision = trt.DataType.HALF
                continue
            if layer.type == trt.LayerType.CAST:
                continue
            outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
            wide = [i for i, out in enumerate(outputs) if out.dtype == trt.DataType.FLOAT and not out.is_shape_tensor]
            for index in wide:
                layer.precision = trt.DataType.FLOAT
                layer.set_output_type(index, trt.DataType.FLOAT)
            held += bool(wide)
        return held

    def _attach(self, config: Any, timing_cache: bytes) -> None:
        """Has `config` measure into a timing cache, beginning with what `timing_cache` knows if it is of use here."""
        known = config.create_timing_cache(timing_cache)
        if known is None or not config.set_timing_cache(known, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
            self._errors.clear()

    def _failure(self, what: str) -> EngineError:
        message = self._message(what)
        error = cuda.device_error(message)
        return ModelError(message) if type(error) is DeviceError else error  # the GPU is well: it is the network

    def _message(self, what: str, *said: str) -> str:
        problems = list(dict.fromkeys([*said, *self._errors]))
        return "\n".join([f"TensorRT {self._trt.__version__} {what}:", *problems[:MESSAGES_SHOWN]])


def _context_bytes(engine: Any) -> int:
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def _monitor(trt: Any, on_progress: OnProgress) -> Any:
    """What the builder tells of its progress, or None where it does not."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = max(num_steps, 1)
            on_progress(phase_name, 0.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """True to go on."""
            on_progress(phase_name, min(1.0, (step + 1) / self._steps.get(phase_name, 1)))
            return True

        def phase_finish(self, phase_name: str) -> None:
            on_progress(phase_name, 1.0)

    return Monitor()
