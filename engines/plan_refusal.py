"""Why a plan that is there cannot be used, in a sentence, and the command that makes one that can."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path

from engines.plan_key import PlanKey


def build_command(label: str, key: PlanKey) -> str:
    """What to type to have the plans of that network built; `label` begins with the model's name."""
    model = shlex.quote(label.partition(" ")[0])
    return f"faceserve build {model} --precision {key.precision} --batch {key.profile}"


def why_not(key: PlanKey, label: str, there: Collection[tuple[str, PlanKey]], folder: Path) -> str:
    """Why none of the plans `there`, labels and keys, will do for `key`: the one that comes nearest is told of."""
    of_this_graph = [other for _, other in there if other.graph_sha256 == key.graph_sha256]
    remedy = f"build it with `{build_command(label, key)}`"
    if of_this_graph:
        nearest = min(of_this_graph, key=lambda other: (len(_differences(key, other)), other.name))
        return f"the plan of {label} in {folder} {' and '.join(_differences(key, nearest))}: {remedy}"
    if any(each == label for each, _ in there):
        return f"the plan of {label} in {folder} is stale, the model changed since it was built: {remedy}"
    return f"{folder} has no plan of {label}: {remedy}"


def _differences(key: PlanKey, other: PlanKey) -> list[str]:
    found = []
    if key.machine != other.machine:
        found.append(f"was built by {other.machine}, here is {key.machine}")
    if key.precision != other.precision:
        found.append(f"is of precision {other.precision}, not {key.precision}")
    if key.profile != other.profile:
        found.append(f"takes batches {other.profile}, not {key.profile}")
    return found
