"""`faceserve detect` and `faceserve recognize`: pictures in, a line of JSON for each out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.failures import code_of, explain, refusals
from app.cli.options import Collection, DataDir, Images, given
from app.cli.output import say

MinScore = Annotated[float | None, typer.Option(help="Drop faces with a lower detection score.")]
MaxFaces = Annotated[int | None, typer.Option(help="Keep the largest n faces.")]
Normalized = Annotated[bool, typer.Option("--normalized", help="Coordinates as fractions of the image.")]
Extras = Annotated[list[str] | None, typer.Option("--return", help="landmarks, quality or crop; may be repeated.")]
Drawn = Annotated[
    Path | None,
    typer.Option("--annotate", help="Also draw the faces: to a file (.jpg, .png), or into a folder."),
]


def detect(
    images: Images,
    min_score: MinScore = None,
    max_faces: MaxFaces = None,
    normalized: Normalized = False,
    extras: Extras = None,
    drawn: Drawn = None,
    data_dir: DataDir = None,
) -> None:
    """Find the faces in pictures; a line of JSON for each."""
    from app.sdk import open_pipeline

    which = given(min_score=min_score, max_faces=max_faces)
    options = which | {"normalized": normalized} | ({"return": extras} if extras else {})
    with open_pipeline(**given(data_dir=data_dir)) as faces:
        _answer_each(
            images,
            lambda data: faces.detect(data, **options),
            lambda data, form: faces.annotate(data, **which, recognize=False, format=form),
            drawn,
        )


def recognize(
    images: Images,
    collection: Collection = "default",
    threshold: Annotated[float | None, typer.Option(help="Cosine below which a face is nobody.")] = None,
    top_k: Annotated[int, typer.Option(help="Most identities a face.")] = 1,
    among: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="KEY=VALUE", help="Search those alone whose metadata says so; may be repeated."
        ),
    ] = None,
    min_margin: Annotated[
        float | None, typer.Option(help="Name nobody whose cosine beats the second identity's by less.")
    ] = None,
    min_score: MinScore = None,
    max_faces: MaxFaces = None,
    normalized: Normalized = False,
    extras: Extras = None,
    drawn: Drawn = None,
    data_dir: DataDir = None,
) -> None:
    """Name the faces in pictures; a line of JSON for each."""
    from app.sdk import open_pipeline

    which = given(min_score=min_score, max_faces=max_faces, collection=collection, threshold=threshold)
    which |= given(filter=parse_filter(among or []) or None, min_margin=min_margin)
    options = which | {"normalized": normalized, "top_k": top_k} | ({"return": extras} if extras else {})
    with open_pipeline(**given(data_dir=data_dir)) as faces:
        _answer_each(
            images,
            lambda data: faces.recognize(data, **options),
            lambda data, form: faces.annotate(data, **which, format=form),
            drawn,
        )


def parse_filter(pairs: list[str]) -> dict[str, list[Any]]:
    """`KEY=VALUE`s as a filter; a key given again may have any of its values. A value that reads as a number, true,
    false, null or "text" in quotes is that, and any other is text. Raises BadParameter for one without `=`."""
    found: dict[str, list[Any]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{pair!r}: expected KEY=VALUE, such as department=sales", param_hint="--filter")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found.setdefault(key, []).append(value)
    return found


def _answer_each(
    images: list[Path],
    answer: Callable[[bytes], dict[str, Any]],
    draw: Callable[[bytes, str], bytes],
    drawn: Path | None,
) -> None:
    """A picture that is refused gets a line too, and the exit code 1 at the end."""
    into_folder = drawn is not None and (len(images) > 1 or drawn.is_dir())
    refused = False
    for path in images:
        try:
            data = path.read_bytes()
            line = answer(data)
            if drawn is not None:
                _write(drawn / f"{path.stem}.jpg" if into_folder else drawn, partial(draw, data))
        except refusals() as error:
            refused = True
            line = {"code": code_of(error), "detail": " ".join(explain(error))}
        say({"file": str(path)} | line)
    if refused:
        raise typer.Exit(1)


def _write(target: Path, draw: Callable[[str], bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(draw("png" if target.suffix.lower() == ".png" else "jpeg"))
