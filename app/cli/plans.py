"""`faceserve plans`: what TensorRT compiled and is kept, whether it is whole, and away with what is of no use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import DataDir, settings_from
from app.cli.output import say

if TYPE_CHECKING:
    from app.stale_plans import Here
    from engines.plans import Plan, PlanStore

cli = typer.Typer(help="List, verify and prune TensorRT plans; see `faceserve build`.", no_args_is_help=True)


@cli.command("list")
def list_plans(data_dir: DataDir = None) -> None:
    """The plans that are kept; a line of JSON for each. `usable` is null where there is no TensorRT to tell."""
    store, here = _store(data_dir), _here(data_dir)
    for plan in store.list():
        say(shown(plan) | {"usable": here.usable(plan)})
    for wrong in store.damaged().values():
        typer.echo(wrong, err=True)


@cli.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", show_default=False, help="Of plans, or of their models (else all)."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare plans with their checksums; exit code 1 when any is damaged."""
    store = _store(data_dir)
    damaged = [] if names else list(store.damaged().values())
    for plan in _chosen(store, names):
        if wrong := _wrong_with(store, plan):
            damaged.append(wrong)
        else:
            say({"name": plan.name, "label": plan.label, "verified": True})
    for wrong in damaged:
        typer.echo(wrong, err=True)
    if damaged:
        raise typer.Exit(1)


@cli.command()
def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove all plans and timing caches.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove plans of networks that are gone, or made for another TensorRT or GPU than this machine's, and leftovers.

    A line of JSON for each, with the reason. Without TensorRT and a GPU here, plans for others are kept.
    """
    from app.stale_plans import clear

    here = _here(data_dir)
    if here.machines is None and not everything:
        typer.echo("no TensorRT or no GPU is here: plans are kept whatever GPU they are for", err=True)
    for gone in clear(_store(data_dir), here, everything=everything, dry_run=dry_run):
        files = [str(path) for path in gone.files]
        told = {"label": gone.label or None, "why": gone.why, "files": files, "size_bytes": gone.size_bytes}
        say({"removed": not dry_run} | told)


def shown(plan: Plan) -> dict[str, Any]:
    """A plan for the terminal."""
    return {
        "name": plan.name,
        "label": plan.label,
        "precision": plan.key.precision,
        "profile": str(plan.key.profile),
        "tensorrt": plan.key.tensorrt,
        "gpu": plan.key.gpu,
        "capability": plan.key.capability,
        "size_bytes": plan.size_bytes,
        "built_at": plan.built,
        **plan.facts,
    }


def _store(data_dir: Path | None) -> PlanStore:
    from app.planning import plans_folder
    from engines.plans import PlanStore

    return PlanStore(plans_folder(settings_from(data_dir=data_dir)))


def _here(data_dir: Path | None) -> Here:
    from app.build import model_store
    from app.stale_plans import look

    return look(model_store(settings_from(data_dir=data_dir)))


def _wrong_with(store: PlanStore, plan: Plan) -> str:
    from engines.base import PlanError

    try:
        store.verify(plan)
    except PlanError as error:
        return str(error)
    return ""


def _chosen(store: PlanStore, names: list[str] | None) -> list[Plan]:
    from engines.base import PlanError

    plans = store.list()
    for name in names or ():
        if not any(name in _names(plan) for plan in plans):
            known = ", ".join(sorted({plan.label for plan in plans})) or "none"
            raise PlanError(f"no plan is called {name!r}, nor the model of one; known are {known}")
    return [plan for plan in plans if not names or _names(plan) & set(names)]


def _names(plan: Plan) -> set[str]:
    return {plan.name, plan.label, plan.label.partition(" ")[0]}
