"""`faceserve gallery tune`: would an approximate index do for a collection?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import Collection, DataDir, settings_from
from app.cli.output import progress, say

if TYPE_CHECKING:
    from app.settings import Settings
    from gallery.local.rows import Rows
    from gallery.types import Collection as About


def tune(
    collection: Collection = "default",
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="INDEX", help="As in FACESERVE_INDEX; may be repeated.", show_default="three usual ones"),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="Identities a search asks for.")] = 5,
    target_recall: Annotated[
        float, typer.Option(min=0.5, max=1, help="Least share of those exactly named that must be found.")
    ] = 0.99,
    questions: Annotated[int, typer.Option(min=10, max=100_000, help="Searches to compare.")] = 1000,
    similarity: Annotated[
        float | None,
        typer.Option(min=0.1, max=0.999, help="Ask with rows perturbed to this cosine, and leave no faces out."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Least cosine of an answer.", show_default="the embedder's")
    ] = None,
    fast_enough_ms: Annotated[float, typer.Option(min=0, help="An exact search this short is kept.")] = 5.0,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the report as JSON and as Markdown.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Measure on a collection's own faces what approximate indexes find, miss, gain and cost.

    Works on a copy of the rows, beside a running service; one core, and memory for the rows about twice over. Says
    which FACESERVE_INDEX to use, or to stay exact.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in a worker
    settings = settings_from(data_dir=data_dir)
    recipes = [_recipe(each) for each in index or ()]
    about, rows = _rows(settings, collection)
    if not len(rows):
        raise typer.BadParameter(f"collection {collection!r} is empty: enrol somebody first")
    from app.tuning import measure, report
    from app.tuning.questions import questions as made_from

    line = _threshold(settings, about) if threshold is None else threshold
    asked = made_from(rows, questions, similarity=similarity)
    with progress() as bar:
        task = bar.add_task("exact answers", total=None)
        contest = measure.Contest(asked, top_k, line)
        exact = contest.exact_ms()
        told: dict[str, Any] = {
            "collection": collection,
            "faces": len(rows),
            "identities": about.identities,
            "dimension": about.dimension,
            "top_k": top_k,
            "threshold": line,
            "target_recall": target_recall,
            "questions": {"how": asked.told(), "made": asked.made, "named": contest.named()},
            "exact": {"ms": _plain(exact)},
            "indexes": [],
        }
        for recipe in recipes or measure.usual(len(rows), about.dimension):
            measured = contest.measure(recipe, lambda step: bar.update(task, description=step))
            told["indexes"].append(measured)
    told["recommendation"] = report.recommendation(told, target_recall, fast_enough_ms)
    if out is not None:
        _write(out, told, report.markdown(told))
    say(told)
    typer.echo(report.line(told["recommendation"]), err=True)


def _recipe(text: str) -> Any:
    from gallery.local.index.recipe import Recipe, RecipeError

    try:
        recipe = Recipe.parse(text)
    except RecipeError as error:
        raise typer.BadParameter(f"--index {error}") from None
    if recipe is None:
        raise typer.BadParameter("--index exact: that is what the others are measured against")
    return recipe


def _rows(settings: Settings, collection: str) -> tuple[About, Rows]:
    from app.galleries import gallery_at
    from gallery.local.gallery import LocalGallery

    if not (settings.data_dir / "gallery").is_dir():
        raise typer.BadParameter(f"there is no gallery in {settings.data_dir}: enrol someone first, or give --data-dir")
    with gallery_at(str(settings.data_dir), settings) as gallery:
        if not isinstance(gallery, LocalGallery):
            raise typer.BadParameter("only the gallery of a data folder has an index of its own to be tuned")
        return gallery.rows(collection)


def _threshold(settings: Settings, about: About) -> float:
    """What the service would take: the embedder's for a gallery of that size."""
    from app.build import embedder_of, model_store
    from app.embedders import Embedders

    spec = Embedders(model_store(settings), embedder_of(settings)).find(about.embedder)
    if spec is None or spec.thresholds is None:
        raise typer.BadParameter(
            f"the embedder of {about.name!r} is not in the model store, or has no thresholds: give --threshold"
        )
    return spec.thresholds.for_gallery(about.identities).threshold


def _plain(summary: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(summary)


def _write(out: Path, told: dict[str, Any], text: str) -> None:
    import orjson

    out.mkdir(parents=True, exist_ok=True)
    (out / "tune.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    (out / "tune.md").write_text(text, "utf-8")
