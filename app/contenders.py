"""Who is compared with the reference: TensorRT where there is a GPU, else the graphs it would be given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from app.batches import for_network
from app.planning import ensure_plans_for
from engines.base import Engine, EngineError, RuntimeMissingError
from engines.load import LoadOptions, load_engine
from engines.plans import Precision, Profile

REFERENCE = "ONNX Runtime fp32, CPU"
Opener = Callable[[Path], AbstractContextManager[Engine]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A runtime in one precision. `opened(graph)` is its engine for the length of a block."""

    label: str
    precision: Precision
    opened: Opener


def device_for(asked: str) -> str:
    """`auto` is the first GPU where its packages, a driver and a GPU are there, and else the CPU."""
    if asked != "auto":
        return asked
    try:
        from engines import cuda

        return "cuda:0" if cuda.gpus() else "cpu"
    except (ImportError, OSError, EngineError):
        return "cpu"


def contenders(
    device: str, precisions: Sequence[Precision], plans: Path, profile: Profile, *, build: bool
) -> list[Contender]:
    """One a precision: on `cuda:N` TensorRT with the plans in `plans`, which are built when missing only if `build`;
    on `cpu` ONNX Runtime with the graph that TensorRT would be given."""
    if device == "cpu":
        return [
            Contender(f"ONNX Runtime CPU, {precision} graph", precision, partial(_rounded, precision=precision))
            for precision in precisions
        ]
    return [
        Contender(f"TensorRT {precision}, {device}", precision, partial(_tensorrt, options=options, build=build))
        for precision in precisions
        for options in [_options(device, precision, plans, profile)]
    ]


def _options(device: str, precision: Precision, plans: Path, profile: Profile) -> LoadOptions:
    return LoadOptions(runtime="tensorrt", device=device, plans=plans, precision=precision, profile=profile, contexts=1)


@contextmanager
def _rounded(path: Path, precision: Precision) -> Iterator[Engine]:
    """The graph that TensorRT would be given for `precision`, run by ONNX Runtime on the CPU.

    It shows what rounding to that precision does, not what a GPU makes of it. Raises RuntimeMissingError without the
    extra `convert`.
    """
    if find_spec("onnx") is None:
        raise RuntimeMissingError("rewriting a graph needs the extra `convert`: pip install 'faceserve[convert]'")
    from engines import graphs
    from engines.precision import for_tensorrt

    with tempfile.TemporaryDirectory(prefix="faceserve-compare-") as folder:
        rounded, model = Path(folder) / path.name, for_tensorrt(graphs.load(path), precision)
        graphs.describe(model, graphs.description(model) | {"precision": precision})
        rounded.write_bytes(model.SerializeToString())
        with closing(load_engine(rounded)) as engine:
            yield engine


@contextmanager
def _tensorrt(path: Path, options: LoadOptions, build: bool) -> Iterator[Engine]:
    if build:
        ensure_plans_for([path], options)
    with closing(load_engine(path, for_network(options, path))) as engine:
        yield engine
