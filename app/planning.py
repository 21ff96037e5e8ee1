"""How plans come to be: found or built, and compared with ONNX Runtime. Takes minutes; never part of a request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.batches import for_network
from engines.base import DeviceMemoryError, ModelError, PlanError, RuntimeMissingError
from engines.load import LoadOptions, load_engine
from engines.manifest import read_manifest
from engines.plans import Plan, PlanKey, PlanStore, label_of

if TYPE_CHECKING:
    from app.settings import Settings
    from engines.build import BuildOptions, Built

Progress = Callable[[str, float], None]
"""Hears what is being done and how much of that is, 0 to 1, in the thread that builds."""
log = logging.getLogger("faceserve")


@dataclass(frozen=True, slots=True)
class Ensured:
    """A plan that is there, and whether it had to be built for that."""

    plan: Plan
    built: bool


def plans_folder(settings: Settings) -> Path:
    """Where the settings have plans kept."""
    return settings.plans_dir or settings.data_dir / "plans"


def ensure_plans(
    files: Sequence[tuple[str, Path]],
    store: PlanStore,
    options: BuildOptions,
    device: str = "cuda:0",
    *,
    on_progress: Progress = lambda doing, done: None,
) -> list[Plan]:
    """The plans of these canonical networks, (label, file) of each; those that are missing are built. See Planner."""
    planner = Planner(store, options, device, on_progress=on_progress)
    return [planner.ensure(label, path).plan for label, path in files]


def ensure_plans_for(
    networks: Sequence[Path], loading: LoadOptions, *, on_progress: Progress = lambda doing, done: None
) -> None:
    """Has plans of the canonical `networks` built, where they are missing, as `loading` will ask for them."""
    from engines.build import BuildOptions

    wanted = BuildOptions(precision=loading.precision, profile=loading.profile)
    files = [(label_of(path), path) for path in networks]
    ensure_plans(files, PlanStore(loading.plans), wanted, loading.device, on_progress=on_progress)


@dataclass(frozen=True, slots=True)
class Planner:
    """Has plans built for the GPU `device` (`cuda:N`) and kept in `store`.

    `timing_cache` is a file to use in place of the one that the store keeps for this kind of GPU. Without `compare`
    a new plan is not held against ONNX Runtime. Without `family_batches` every network gets the batch sizes of
    `options`, also where its family has some of its own.
    """

    store: PlanStore
    options: BuildOptions
    device: str = "cuda:0"
    timing_cache: Path | None = None
    on_progress: Progress = lambda doing, done: None
    compare: bool = True
    family_batches: bool = True

    def ensure(self, label: str, path: Path, *, force: bool = False) -> Ensured:
        """The plan of one canonical network, built where it is missing or damaged, and anyway with `force`.

        Of several processes that want the same plan one builds it and the others wait. Raises RuntimeMissingError
        where TensorRT or the GPU is not there, ModelError for a network that TensorRT does not take, DeviceError, and
        OSError where the store cannot be written to.
        """
        loading = self._loading(path)
        key = _key(path, loading)
        if not force and (plan := self._whole(key, label)):
            return Ensured(plan, built=False)
        if self.store.is_building(key):
            self.on_progress(f"{label}: waiting for whoever builds it", 0.0)
        with self.store.building(key):
            if not force and (plan := self._whole(key, label)):
                return Ensured(plan, built=False)
            plan = self._build(key, label, path)
            if not self.compare:
                return Ensured(self.store.note(plan, {"parity_missing": "it was not asked for"}), built=True)
            self.on_progress(f"{label}: comparing with ONNX Runtime", 1.0)
            return Ensured(self.store.note(plan, _parity(label, path, loading)), built=True)

    def _loading(self, path: Path) -> LoadOptions:
        """As whoever serves the network will ask for its plan."""
        options = LoadOptions(
            "tensorrt",
            self.device,
            plans=self.store.folder,
            precision=self.options.precision,
            profile=self.options.profile,
            contexts=1,
        )
        return for_network(options, path) if self.family_batches else options

    def _whole(self, key: PlanKey, label: str) -> Plan | None:
        try:
            plan = self.store.find(key, label)
            self.store.verify(plan)
        except PlanError as error:
            log.info("%s", error)
            return None
        return plan

    def _build(self, key: PlanKey, label: str, path: Path) -> Plan:
        from engines.build import build_plan

        built = build_plan(
            path,
            replace(self.options, profile=key.profile),
            device=self.device,
            timing_cache=self._learned(key),
            on_progress=lambda doing, done: self.on_progress(f"{label}: {doing}", done),
        )
        if self.timing_cache is None:
            self.store.save_timing_cache(key, built.timing_cache)
        else:
            self.timing_cache.write_bytes(built.timing_cache)
        return self.store.add(key, label, built.plan, _facts(built, self.options))

    def _learned(self, key: PlanKey) -> bytes:
        if self.timing_cache is None:
            return self.store.timing_cache(key)
        return self.timing_cache.read_bytes() if self.timing_cache.exists() else b""


def _key(path: Path, loading: LoadOptions) -> PlanKey:
    try:
        from engines.tensorrt import key_of

        return key_of(path, loading)
    except ImportError as error:
        raise RuntimeMissingError(
            f"building plans needs a package that is missing ({error}): pip install 'faceserve[tensorrt]'"
        ) from error


def _facts(built: Built, options: BuildOptions) -> dict[str, Any]:
    return {
        "build_seconds": round(built.seconds, 1),
        "layers": built.layers,
        "held_layers": built.held_layers,
        "context_bytes": built.context_bytes,
        "opt_level": options.level,
        "workspace_bytes": options.workspace_bytes,
        "parity": None,
        "parity_missing": "the process ended before it was measured",
    }


def _parity(label: str, path: Path, loading: LoadOptions) -> dict[str, Any]:
    """How far the plan's answers to the sample photos lie from ONNX Runtime's, or why that is not known."""
    from app.comparison import SAMPLES, feeds, parity

    try:
        spec = read_manifest(path.parent)
        file = next(file for file in spec.files if file.path == path)
        with ExitStack() as stack:
            reference = load_engine(path)
            stack.callback(reference.close)
            engine = load_engine(path, loading)
            stack.callback(engine.close)
            found = parity(reference, engine, feeds(spec, file, sorted(SAMPLES.glob("*.jpg"))), spec.task)
    except (ModelError, DeviceMemoryError) as error:
        log.warning("the plan of %s was not compared with ONNX Runtime: %s", label, error)
        return {"parity": None, "parity_missing": str(error)}
    if not found["agrees"]:
        log.warning("the plan of %s lies further from ONNX Runtime than promised: see `faceserve compare`", label)
    return {"parity": found, "parity_missing": None}
