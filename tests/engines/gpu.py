"""What tests on a GPU share: whether they can run, plans that are built once, and child processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines.base import PlanError, RuntimeMissingError
from engines.cuda import gpus
from engines.load import LoadOptions
from engines.plans import PlanStore, Precision, Profile, label_of

ROOT = Path(__file__).resolve().parents[2]
QUICK = 1  # builder level: the same numbers to within rounding, in less time


@cache
def has_tensorrt() -> bool:
    """Whether there is a GPU and what it takes to run TensorRT on it."""
    try:
        return bool(find_spec("tensorrt") and gpus())
    except RuntimeMissingError:
        return False


NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not has_tensorrt(), reason="needs an NVIDIA GPU with TensorRT")]


def options(precision: Precision, profile: Profile, contexts: int = 2) -> LoadOptions:
    """How `load_engine` loads a plan of `planned`."""
    return LoadOptions(
        "tensorrt", "cuda:0", plans=_store().folder, precision=precision, profile=profile, contexts=contexts
    )


def planned(path: Path, precision: Precision, profile: Profile) -> bytes:
    """The plan of a canonical network, built where it is not yet in FACESERVE_TEST_PLANS (else in a folder of this
    process)."""
    from engines.build import BuildOptions, build_plan
    from engines.tensorrt import key_of

    store = _store()
    key = key_of(path, options(precision, profile))
    with store.building(key):
        try:
            plan = store.find(key, label_of(path))
        except PlanError:
            built = build_plan(
                path, BuildOptions(precision, profile, level=QUICK), timing_cache=store.timing_cache(key)
            )
            store.save_timing_cache(key, built.timing_cache)
            plan = store.add(key, label_of(path), built.plan, {})
    return store.read(plan)


def child(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What became of a Python process that ran `script`, which a broken GPU may end or hang."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)


@cache
def _store() -> PlanStore:
    return PlanStore(Path(os.environ.get("FACESERVE_TEST_PLANS") or _folder().name))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="faceserve-plans-", ignore_cleanup_errors=True)
