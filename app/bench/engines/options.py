"""How a runtime's process is to load networks."""

from __future__ import annotations

from dataclasses import dataclass

from engines.plans import Precision


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """All in plain values, as it goes to another process.

    ONNX Runtime reads `device` (and runs on the CPU where it has no such device). TensorRT reads the rest: plans are
    kept in the folder `plans`, `level` is the builder's optimisation level (None: its default) for plans that are yet
    to be built, and `timing_cache` a file that keeps what builds have learned (None: beside the plans).
    """

    runtime: str
    device: str = "cuda:0"
    precision: Precision = "fp16"
    contexts: int = 2
    plans: str = "data/plans"
    timing_cache: str | None = None
    level: int | None = None
