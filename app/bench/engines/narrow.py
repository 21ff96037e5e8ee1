"""TensorRT for one batch size: a plan whose profile has no other, built where it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

from app.bench.engines.options import EngineOptions
from app.bench.statistics import Json
from app.planning import Planner
from engines.base import Engine, RuntimeMissingError
from engines.load import LoadOptions, load_engine
from engines.plans import PlanStore, Profile, label_of


def here(options: EngineOptions) -> Json:
    """The GPU that TensorRT would run on. Raises RuntimeMissingError when it, or a package, is not there."""
    try:
        from engines import cuda
        from engines.tensorrt import version
    except (ImportError, OSError) as error:
        raise RuntimeMissingError(f"TensorRT needs the extra `tensorrt` ({error})") from error
    gpu = cuda.gpu(options.device)
    return {"version": version(), "gpu": gpu.name, "capability": gpu.capability, "memory_bytes": gpu.memory_bytes}


def open_narrow(file: Path, batch: int, options: EngineOptions) -> tuple[Engine, Json]:
    """The network in `file` for exactly `batch` rows, and what is known of its plan; takes minutes to build."""
    from engines.build import BuildOptions

    profile = Profile(batch, batch, batch)
    planner = Planner(
        PlanStore(Path(options.plans)),
        BuildOptions(precision=options.precision, profile=profile, level=options.level),
        options.device,
        timing_cache=None if options.timing_cache is None else Path(options.timing_cache),
        on_progress=_tell,
        compare=False,
        family_batches=False,
    )
    ensured = planner.ensure(label_of(file), file)
    loading = LoadOptions(
        "tensorrt",
        options.device,
        plans=Path(options.plans),
        precision=options.precision,
        profile=profile,
        contexts=options.contexts,
    )
    facts = {"plan_bytes": ensured.plan.size_bytes, "built_now": ensured.built, "contexts": options.contexts}
    return load_engine(file, loading), facts | dict(ensured.plan.facts)


def _tell(doing: str, done: float) -> None:
    if done == 0:  # the start of each step; its shares would fill the terminal
        print(doing, file=sys.stderr)
