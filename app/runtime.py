"""Which runtime and device run the models of a worker: what the settings ask for or, left open, what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from app.batches import for_network
from app.planning import plans_folder
from app.settings import Settings
from engines.base import EngineError, PlanError, RuntimeMissingError
from engines.load import LoadOptions
from engines.plan_key import Profile

AS_SET = "as set"


@dataclass(frozen=True, slots=True)
class Choice:
    """A runtime and a device as `LoadOptions` takes them, and why it is these: for the log and `/info`."""

    runtime: str
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of that which was asked for or looked for.

    `device` is the worker's GPU. `no_tensorrt` says why TensorRT cannot run there, `no_plans` of which model it has no
    plan; each is empty where there is nothing to say. `onnxruntime_cuda`: ONNX Runtime, in its place, can use GPUs.
    """

    device: str
    no_tensorrt: str = ""
    no_plans: str = ""
    onnxruntime_cuda: bool = False


def choose(settings: Settings, networks: Sequence[Path], place: int = 0) -> Choice:
    """The runtime and the device for the canonical `networks` in a worker at `place` (see `app/places.py`).

    Looks for a GPU, which starts CUDA in this process, only where the settings leave room for one: so never call it
    in a process that forks. Raises RuntimeMissingError with the remedy when what was asked for is not there; `auto`
    for both always finds something.
    """
    runtime, device = settings.runtime, settings.device
    if device == "cpu" or (runtime == "onnxruntime" and device != "cuda"):
        return Choice("onnxruntime", "cpu" if device == "auto" else device, AS_SET)
    return decide(runtime, device, _look(settings, networks, place))


def decide(runtime: str, device: str, found: Found) -> Choice:
    """The rules, for every setting that leaves room for a GPU."""
    if runtime == "onnxruntime":
        why = f"{AS_SET}, on the first GPU: {found.no_tensorrt}" if found.no_tensorrt else AS_SET
        return Choice("onnxruntime", found.device, why)
    if runtime == "tensorrt":
        if found.no_tensorrt:
            raise RuntimeMissingError(found.no_tensorrt)
        return Choice("tensorrt", found.device, AS_SET)
    obstacle = found.no_tensorrt or found.no_plans
    if not obstacle:
        return Choice("tensorrt", found.device, "TensorRT, a GPU and plans of the models are there")
    if device == "auto":
        return Choice("onnxruntime", "cpu", obstacle)
    if found.onnxruntime_cuda:
        return Choice("onnxruntime", found.device, obstacle)
    raise RuntimeMissingError(
        f"device `{device}` was asked for, but neither runtime can use it. TensorRT: {obstacle}. ONNX Runtime: this "
        "one has no CUDA provider, install `onnxruntime-gpu` in place of `onnxruntime`. Or ask for device `cpu`"
    )


def gpu_at(place: int, gpus: int) -> str:
    """The GPU of a worker where they are shared out. Where none could be counted it is the first."""
    return f"cuda:{place % max(1, gpus)}"


def load_options(settings: Settings, choice: Choice) -> LoadOptions:
    """How the networks are loaded once the choice is made; each by itself as `app.batches.for_network` has it."""
    return LoadOptions(
        runtime=choice.runtime,
        device=choice.device,
        threads=settings.threads_per_run,
        concurrency=settings.concurrency,
        plans=plans_folder(settings),
        precision=settings.precision,
        profile=Profile.parse(settings.batch),
        contexts=settings.contexts,
    )


def _look(settings: Settings, networks: Sequence[Path], place: int) -> Found:
    gpus, none_seen = _count_gpus()
    device = settings.device if ":" in settings.device else gpu_at(place, gpus)
    if settings.runtime == "onnxruntime":
        return Found(device, none_seen)
    no_tensorrt = none_seen or _why_no_tensorrt(device)
    no_plans = ""
    if settings.runtime == "auto" and not no_tensorrt and not settings.auto_build:
        no_plans = _why_no_plans(load_options(settings, Choice("tensorrt", device, "")), networks)
    instead = settings.device != "auto" and bool(no_tensorrt or no_plans)
    return Found(device, no_tensorrt, no_plans, instead and _onnxruntime_has_cuda())


def _count_gpus() -> tuple[int, str]:
    """How many GPUs are seen, and why none are."""
    try:
        from engines import cuda

        count = len(cuda.gpus())
    except (ImportError, OSError) as error:
        return 0, _not_installed(error)
    except EngineError as error:
        return 0, str(error)
    return count, "" if count else "no NVIDIA GPU is there: does `nvidia-smi` list one?"


def _why_no_tensorrt(device: str) -> str:
    try:
        from engines import cuda

        import_module("engines.tensorrt")
        cuda.gpu(device)
    except (ImportError, OSError) as error:
        return _not_installed(error)
    except EngineError as error:
        return str(error)
    return ""


def _not_installed(error: Exception) -> str:
    return f"TensorRT is not installed ({error}): pip install 'faceserve[tensorrt]'"


def _why_no_plans(options: LoadOptions, networks: Sequence[Path]) -> str:
    from engines import tensorrt
    from engines.plans import PlanStore, label_of

    store = PlanStore(options.plans)
    try:
        for path in networks:
            store.find(tensorrt.key_of(path, for_network(options, path)), label_of(path))
    except PlanError as error:
        return str(error)
    return ""


def _onnxruntime_has_cuda() -> bool:
    from engines import onnxruntime

    return onnxruntime.has_cuda()
