"""Flags that the evaluations share, and what they stand for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.evaluation.photos import EvaluationError

if TYPE_CHECKING:
    from app.settings import Settings

PACKAGES = ("matplotlib", "scipy")
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder for the report, its JSON and the pictures.")]


def named_file(words: str, default: str | bool = False) -> Any:
    """A flag that names a file which must be there."""
    return typer.Option(exists=True, dir_okay=False, metavar="FILE", show_default=default, help=words)


Csv = Annotated[
    Path | None,
    typer.Option(
        "--attributes",
        exists=True,
        dir_okay=False,
        metavar="CSV",
        show_default=False,
        help="A table with the column `photo` or `person`; every other column splits the photos into groups, numbers "
        "into quartiles.",
    ),
]
Detector = Annotated[str | None, typer.Option(metavar="NAME", help="Else FACESERVE_DETECTOR.", show_default=False)]
Embedder = Annotated[str | None, typer.Option(metavar="NAME", help="Else FACESERVE_EMBEDDER.", show_default=False)]
MinScore = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Detection score of a face (else FACESERVE_MIN_SCORE).", show_default=False),
]
Face = Annotated[Literal["central", "largest"], typer.Option(help="Which face counts where a photo has several.")]
Flip = Annotated[bool, typer.Option("--flip", help="Add the mirrored crop's embedding, which the service does not.")]
Replicates = Annotated[int, typer.Option(min=100, help="Bootstrap samples that the intervals rest on.")]
Cache = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="What is done already.", show_default="data folder / evaluation.sqlite3"),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep nothing: the next run starts anew.")]


def require_extra() -> None:
    """Raises EvaluationError where what draws and computes is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise EvaluationError(f"{' and '.join(missing)} missing; install the extra: pip install 'faceserve[eval]'")


def cache_of(settings: Settings, file: Path | None, no_cache: bool) -> Path | None:
    """The file of what is done already, or None to keep nothing."""
    if no_cache:
        return None
    return file or settings.data_dir / "evaluation.sqlite3"
