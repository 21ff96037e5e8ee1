"""Which of the plans that are kept are of use here: to the models at hand, on this machine's GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from engines.base import EngineError
from engines.models import ModelStore
from engines.plan_pruning import Removed, prune
from engines.plans import Machine, Plan, PlanStore, graph_sha256


@dataclass(frozen=True, slots=True)
class Here:
    """The graphs of the model store by fingerprint, and what this machine has, one entry a kind of GPU.

    `machines` is None where that is not known: TensorRT, the driver or a GPU is missing.
    """

    graphs: frozenset[str]
    machines: frozenset[Machine] | None

    def objection(self, plan: Plan) -> str:
        """Why nobody here can use the plan; empty where somebody may."""
        if plan.key.graph_sha256 not in self.graphs:
            return "the model store does not have its network (any more)"
        if self.machines is not None and plan.key.machine not in self.machines:
            return f"made by {plan.key.machine}, here is {self._machines()}"
        return ""

    def usable(self, plan: Plan) -> bool | None:
        """Whether an engine can be made of the plan here; None where it is not known."""
        if self.objection(plan):
            return False
        return None if self.machines is None else True

    def objection_to_timing_cache(self, name: str) -> str:
        """The same for a timing cache by its file's name, without the ending."""
        if self.machines is None or name in {machine.timing_cache_name for machine in self.machines}:
            return ""
        return f"learned on another machine, here is {self._machines()}"

    def _machines(self) -> str:
        return " and ".join(sorted(map(str, self.machines or ())))


def look(models: ModelStore) -> Here:
    """What is here. Starts CUDA where there is a GPU; raises ModelError for a model file that cannot be read."""
    graphs = frozenset(graph_sha256(file.path) for spec in models.list() for file in spec.files)
    return Here(graphs, _machines())


def clear(store: PlanStore, here: Here, *, everything: bool = False, dry_run: bool = False) -> list[Removed]:
    """Removes what is of no use here, or `everything`; with `dry_run` only says what (see engines/plan_pruning.py)."""
    if everything:
        return prune(store, lambda plan: "asked for", lambda name: "asked for", dry_run=dry_run)
    return prune(store, here.objection, here.objection_to_timing_cache, dry_run=dry_run)


def _machines() -> frozenset[Machine] | None:
    try:
        from engines.cuda import gpus
        from engines.tensorrt import version

        found = frozenset(Machine(version(), gpu.name, gpu.capability) for gpu in gpus())
    except (ImportError, OSError, EngineError):
        return None
    return found or None
