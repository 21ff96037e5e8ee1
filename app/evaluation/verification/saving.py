"""The thresholds of a run, stored with the embedder so that the service uses them."""

from __future__ import annotations

from dataclasses import replace

from app.evaluation.photos import EvaluationError
from app.evaluation.run import Method
from app.evaluation.wording import Json
from engines.models import SHIPPED, ModelStore, require_onnx, save_thresholds
from engines.thresholds import Thresholds


def refuse_what_does_not_serve(method: Method) -> None:
    """Raises EvaluationError for a run whose thresholds would not be the service's, RuntimeMissingError without what
    writes models."""
    if method.aligned:
        raise EvaluationError("--save: a pack names no people, so no FAR can be measured on it; give --images")
    if method.flip:
        raise EvaluationError("--save: the service does not add the mirrored crop; leave out --flip")
    require_onnx()


def noted(told: Json) -> Json | None:
    """The run's thresholds with a note that says what they rest on; None where no table was measurable."""
    figures, data = told["verification"], told["data"]
    if not figures["thresholds"]:
        return None
    table = figures["far_table"]
    people = data["people"] or data["pairs"]
    note = (
        f"measured on {data['images']} ({people}): {table['people']} people, {table['photos']} photos, "
        f"{table['pairs']} pairs of different people; detector {told['models']['detector']['name']}"
    )
    return replace(Thresholds.from_dict(figures["thresholds"]), note=note).as_dict()


def save(told: Json, store: ModelStore) -> str:
    """Stores the thresholds with the embedder; says where. EvaluationError where the run found none."""
    figures, name = told["verification"], told["models"]["embedder"]["name"]
    if not figures["thresholds"]:
        raise EvaluationError(f"--save: no thresholds to save: {figures['why_no_thresholds']}")
    shipped = store.get(name).files[0].path.is_relative_to(SHIPPED)
    folder = save_thresholds(name, Thresholds.from_dict(figures["thresholds"]), store).files[0].path.parent
    copied = "a copy of the model that comes with the package, used in its stead" if shipped else "the model itself"
    return f"saved: the thresholds of {name}, in {folder} ({copied}); a running service takes them when it restarts"
