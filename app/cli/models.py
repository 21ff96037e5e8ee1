"""`faceserve models`: what is in the store, is it whole, and how more gets in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.model_lines import all_of, all_of_offer, line_of, line_of_offer, line_of_pack
from app.cli.options import DataDir, given, settings_from
from app.cli.output import say
from app.cli.pull import pull

if TYPE_CHECKING:
    from engines.models import ModelStore
    from engines.thresholds import Thresholds

cli = typer.Typer(help="List, pull, import, verify and remove models.", no_args_is_help=True)
Values = Annotated[str | None, typer.Option(metavar="X[,Y,Z]", help="For pixels 0..255; one value, or one a channel.")]


cli.command()(pull)


@cli.command("list")
def list_models(data_dir: DataDir = None) -> None:
    """The models at hand, shipped and imported, and those that can be pulled; a line of JSON for each."""
    from engines.catalogue import OFFERS

    specs = _store(data_dir).list()
    for spec in specs:
        say(line_of(spec))
    for offer in OFFERS.values():
        if all(spec.name != offer.name for spec in specs):
            say(line_of_offer(offer))


@cli.command()
def info(
    name: Annotated[str, typer.Argument(show_default=False, help="A model, or a pack.")], data_dir: DataDir = None
) -> None:
    """Everything known of a model or of a pack's models; a line of JSON for each."""
    from engines.catalogue import OFFERS, PACKS, models_called

    specs = {spec.name: spec for spec in _store(data_dir).list()}
    if name in PACKS:
        say(line_of_pack(PACKS[name]))
    for model in (name,) if name in specs else models_called(name):
        say(all_of(specs[model]) if model in specs else all_of_offer(OFFERS[model]))


@cli.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare models (else: all of them) with their checksums; the first that differs ends it with exit code 1."""
    store = _store(data_dir)
    for name in names or [spec.name for spec in store.list()]:
        say({"name": name, "verified": True, "digest": store.verify(name).digest})


@cli.command()
def remove(
    name: Annotated[str, typer.Argument(show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Even where the settings name it.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Take an imported model out of the store. Its plans go with `faceserve plans prune`."""
    from app.build import model_store

    settings = settings_from(data_dir=data_dir)
    store = model_store(settings)
    for variable, used in (("FACESERVE_DETECTOR", settings.detector), ("FACESERVE_EMBEDDER", settings.embedder)):
        if used == name and not force:
            raise typer.BadParameter(f"{variable} names {name}: name another one first, or say --force")
    store.remove(name)
    say({"name": name, "removed": True})


@cli.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="The network."),
    ],
    family: Annotated[str | None, typer.Option(help="What it is, where that cannot be told from the file.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name in the store (else the file's).")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="HxW", help="Input size; may be repeated for a detector.")
    ] = None,
    channels: Annotated[Literal["bgr", "rgb"] | None, typer.Option(help="The order it was trained on.")] = None,
    mean: Values = None,
    std: Values = None,
    margin: Annotated[int | None, typer.Option(min=0, metavar="PX", help="For embedders of boxes.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    commercial_use: Annotated[
        bool | None, typer.Option(help="Whether the licence allows it.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(help="What its users should know.")] = "",
    source: Annotated[str | None, typer.Option(help="Where the file came from.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="Where the file can be had; may be repeated.")] = None,
    verify_threshold: Annotated[float | None, typer.Option(help="Cosine for 1:1 (with --recognize-threshold).")] = None,
    recognize_threshold: Annotated[float | None, typer.Option(help="Cosine for 1:N (with --verify-threshold).")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Rewrite a network into canonical graphs, under FACESERVE_DATA_DIR/models.

    What is not given of size, channels, mean, std and margin is the family's usual.
    """
    from engines.importing import Expected, import_model

    options = given(
        family=family,
        name=name,
        sizes=[_size(text) for text in size] if size else None,
        commercial_use=commercial_use,
        note=note,
        source=source,
        urls=url,
        thresholds=_thresholds(verify_threshold, recognize_threshold),
    )
    expected = Expected(channels, _values("--mean", mean), _values("--std", std), margin)
    spec = import_model(files, into=_store(data_dir), expected=expected, licence=licence, replace=replace, **options)
    say(line_of(spec))


def _store(data_dir: Path | None) -> ModelStore:
    from app.build import model_store

    return model_store(settings_from(data_dir=data_dir))


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found:
        raise typer.BadParameter(f"--size {text}: expected height x width in pixels, such as 640x640")
    return int(found[1]), int(found[2])


def _values(flag: str, text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(value) for value in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{flag} {text}: expected one or three numbers, such as 104,117,123") from None


def _thresholds(verify: float | None, recognize: float | None) -> Thresholds | None:
    """Values a person gives are nothing that was measured here: no FAR is known of them."""
    if verify is None and recognize is None:
        return None
    if verify is None or recognize is None:
        raise typer.BadParameter("give both --verify-threshold and --recognize-threshold, or neither")
    from engines.thresholds import Thresholds

    return Thresholds(verify=verify, verify_far=None, recognize=recognize, note="given at import")
