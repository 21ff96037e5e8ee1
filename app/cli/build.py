"""`faceserve build`: a model's plans, compiled for this machine's GPU before the service needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.options import DataDir, files_of_sizes, given, settings_from
from app.cli.output import progress, say
from app.cli.plans import shown

if TYPE_CHECKING:
    from app.planning import Progress
    from app.settings import Settings
    from engines.build import BuildOptions


def build(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `faceserve models list`.")],
    precision: Annotated[
        Literal["fp32", "fp16", "mixed"] | None, typer.Option(help="Of the network's body (else FACESERVE_PRECISION).")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:OPT:MAX",
            help="Batch sizes it takes (else FACESERVE_BATCH), where its family has none of its own for the size.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="HxW", help="This input size; may be repeated (else all).")
    ] = None,
    workspace: Annotated[int | None, typer.Option(min=1, metavar="MIB", help="GPU memory for trying out.")] = None,
    opt_level: Annotated[int | None, typer.Option(min=0, max=5, help="How hard TensorRT tries.")] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Read and write this file in place of the one kept.")
    ] = None,
    device: Annotated[str, typer.Option(help="The GPU, `cuda:N`.")] = "cuda:0",
    force: Annotated[bool, typer.Option("--force", help="Build anew what is there.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Compile a model into TensorRT plans, one for each of its sizes; a line of JSON for each plan.

    A plan is for one version of TensorRT and one kind of GPU: build where the service will run. What is there already
    is left as it is, and told.
    """
    settings = settings_from(data_dir=data_dir, precision=precision, batch=batch)
    from app.build import model_store
    from app.planning import Planner, plans_folder
    from engines.plans import PlanStore, label_of

    files = files_of_sizes(model_store(settings).get(model), size)
    options = _options(settings, workspace, opt_level)
    with _progress() as on_progress:
        planner = Planner(PlanStore(plans_folder(settings)), options, device, timing_cache, on_progress)
        for file in files:
            ensured = planner.ensure(label_of(file.path), file.path, force=force)
            say({"built": ensured.built} | shown(ensured.plan))


def _options(settings: Settings, workspace_mib: int | None, level: int | None) -> BuildOptions:
    from engines.build import BuildOptions
    from engines.plans import Profile

    workspace_bytes = None if workspace_mib is None else workspace_mib * 2**20
    limits = given(workspace_bytes=workspace_bytes, level=level)
    return BuildOptions(precision=settings.precision, profile=Profile.parse(settings.batch), **limits)


@contextmanager
def _progress() -> Iterator[Progress]:
    from rich.progress import TimeElapsedColumn

    with progress(TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda doing, done: bar.update(task, description=doing, completed=done)
