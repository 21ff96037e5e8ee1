"""Flags that several commands share, and the settings they override."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.settings import Settings
    from engines.models import ModelFile, ModelSpec

DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the gallery and imported models live (else FACESERVE_DATA_DIR, else ./data)."),
]
Collection = Annotated[str, typer.Option(help="The collection to work on.")]
Images = Annotated[
    list[Path],
    typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False, show_default=False, help="JPEG, PNG, WebP or BMP."),
]


def given(**flags: Any) -> dict[str, Any]:
    """The flags that were given, so that what was not keeps its value from the environment."""
    return {name: value for name, value in flags.items() if value is not None}


def settings_from(**flags: Any) -> Settings:
    """The environment's settings with the given flags over them.

    Raises pydantic's ValidationError when a value makes no sense.
    """
    from app.settings import Settings

    return Settings(**given(**flags))


def files_of_sizes(spec: ModelSpec, sizes: list[str] | None) -> list[ModelFile]:
    """The model's files of the sizes that were given as HxW, or all. Raises BadParameter naming the sizes it has."""
    files = {f"{file.size[0]}x{file.size[1]}": file for file in spec.files}
    for size in sizes or ():
        if size not in files:
            raise typer.BadParameter(f"--size {size}: {spec.name} has {', '.join(files)}")
    return [file for size, file in files.items() if not sizes or size in sizes]
