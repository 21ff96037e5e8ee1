"""`faceserve compare`: do runtimes and precisions give the same faces?"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import DataDir, files_of_sizes, settings_from
from app.cli.output import say

if TYPE_CHECKING:
    from engines.base import Tensors
    from engines.models import ModelFile
    from engines.plans import Precision

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


class Asked(str, Enum):
    """A precision, as typer can repeat it."""

    fp32 = "fp32"
    fp16 = "fp16"
    mixed = "mixed"


DEFAULT = (Asked.fp32, Asked.fp16)


def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; see `faceserve models list`.")],
    photos: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of photos (else the samples).")
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A photo; may be repeated.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="This input size only.")] = None,
    precision: Annotated[
        list[Asked] | None, typer.Option(help="May be repeated (else fp32 and fp16).", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cuda:N`: TensorRT; `cpu`: the graphs it would get.")] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Rows run together (else as many as it takes).")] = None,
    build: Annotated[bool, typer.Option("--build", help="Build plans that are missing; takes minutes.")] = False,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the JSON here (else stdout).")] = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Draw each photo's faces side by side into this folder.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the same photos through TensorRT and ONNX Runtime, and tell how far the answers lie apart.

    The reference is ONNX Runtime in float32 on the CPU. Without a GPU it is compared with the graphs that TensorRT
    would be given, run by ONNX Runtime too: what rounding does, not what a GPU does.
    """
    settings = settings_from(data_dir=data_dir)
    from app.build import model_store
    from app.comparison import SAMPLES, compared
    from app.contenders import contenders, device_for
    from app.planning import plans_folder
    from engines.families import family_called
    from engines.plans import Profile

    spec = model_store(settings).get(model)
    if pictures is not None and spec.task != "detector":
        raise typer.BadParameter(f"--pictures draws what a detector finds, and {model} is an {spec.task}")
    if pictures is not None and family_called(spec.family).cascade:
        raise typer.BadParameter(f"--pictures draws faces, and what {model}'s networks find one by one are none yet")
    chosen = image or _photos(photos or SAMPLES)
    profile = Profile.parse(settings.batch)
    precisions: list[Precision] = [each.value for each in precision or DEFAULT]
    others = contenders(device_for(device), precisions, plans_folder(settings), profile, build=build)
    told = []
    for file in files_of_sizes(spec, [size] if size else None):
        found, answers = compared(spec, file, chosen, others, rows=batch)
        told.append(found)
        _show(found)
        if pictures is not None:
            _draw(file, chosen, answers, pictures)
    _write(told, json)
    if any(found["left_out"] for found in told):
        raise typer.Exit(1)


def _photos(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise typer.BadParameter(f"{folder} has no photos ({', '.join(PICTURES)})")
    return found


def _draw(file: ModelFile, photos: list[Path], answers: dict[str, Tensors], folder: Path) -> None:
    from app.comparison import drawn

    folder.mkdir(parents=True, exist_ok=True)
    for row, photo in enumerate(photos):
        # Photos of several folders may have one name.
        number = sum(other.stem == photo.stem for other in photos[:row])
        name = f"{photo.stem}-{number + 1}" if number else photo.stem
        picture = folder / f"{name}-{file.size[0]}x{file.size[1]}.jpg"
        picture.write_bytes(drawn(file, photo, row, answers))
        typer.echo(f"drawn: {picture}", err=True)


def _write(told: list[dict[str, Any]], path: Path | None) -> None:
    """A line of JSON for each size to stdout, or all in one file."""
    if path is None:
        for found in told:
            say(found)
        return
    import orjson

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    typer.echo(f"written: {path}", err=True)


def _show(told: dict[str, Any]) -> None:
    """The table, for people: a column for each runtime and precision."""
    from rich.console import Console
    from rich.table import Table

    height, width = told["size"]
    table = Table(title=f"{told['model']} {height}x{width} against {told['reference']}", title_justify="left")
    table.add_column("")
    for row in told["compared"]:
        table.add_column(row["engine"], justify="right")
    columns = [_faces(row) if told["task"] == "detector" else _embeddings(row) for row in told["compared"]]
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    table.add_row("", *("[green]agrees[/]" if row["agrees"] else "[red]differs[/]" for row in told["compared"]))
    Console(stderr=True).print(table)
    for row in told["compared"]:
        for face in row.get("unmatched", ()):
            who = row["engine"] if face["side"] == "given" else told["reference"]
            box = ", ".join(f"{side:.0f}" for side in face["box"])
            typer.echo(f"only {who} finds a face in {face['photo']}: score {face['score']:.3f}, box {box}", err=True)
        for face in row.get("apart", ()):
            typer.echo(f"{row['engine']} has a face of {face['photo']} elsewhere: {_apart(face)}", err=True)
    for row in told["left_out"]:
        typer.echo(f"left out: {row['engine']}: {row['reason']}", err=True)


def _faces(row: dict[str, Any]) -> dict[str, str]:
    faces = row["faces"]
    return {
        "same faces": f"{faces['matched']} of {faces['reference']}",
        "found by one side alone": str(len(row["unmatched"])),
        "IoU, least and mean": _two(row["iou"], "min"),
        "landmarks, px, most and mean": _two(row["landmarks_px"], "max"),
        "score, most and mean": _two(row["scores"], "max"),
    }


def _apart(face: dict[str, Any]) -> str:
    tie = "" if face["tie"] is None else f"; the reference's own candidate there scores {face['tie']:.5f} differently"
    moved = "" if face["landmarks_px"] is None else f", landmarks {face['landmarks_px']:.2f} px"
    return f"score {face['score']:.3f}, IoU {face['iou']:.3f}{moved}{tie}"


def _embeddings(row: dict[str, Any]) -> dict[str, str]:
    return {
        "crops": str(row["crops"]),
        "cosine, least and mean": _two(row["cosine"], "min"),
        "norm, relative, most and mean": _two(row["norms"], "max"),
    }


def _two(found: dict[str, float | None], worst: str) -> str:
    return "  ".join("–" if found[name] is None else f"{found[name]:.5f}" for name in (worst, "mean"))
