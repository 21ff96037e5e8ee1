"""`faceserve bench pairs`: the flags, and the turns of the pairs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from app.bench import report
from app.bench.pairs.people import Photo, read_people
from app.bench.pairs.recognition import Embeddings, recognised
from app.bench.processes import BenchError, Cores
from app.bench.results import conclude
from app.bench.statistics import Json, Summary, ratios
from app.build import model_store
from app.sdk import FaceClient, open_pipeline
from app.settings import Settings
from engines.models import ModelSpec

NAME = "pairs"
Pair = tuple[ModelSpec, ModelSpec]
Names = Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")]


def pairs(
    people: Annotated[Path, typer.Argument(metavar="PEOPLE.csv", exists=True, dir_okay=False, show_default=False)],
    photos: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the photos it names.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the JSON.")] = Path("bench"),
    detector: Names = None,
    embedder: Names = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each pair, for its time.")] = 5,
) -> None:
    """Try every detector with every embedder of the store on photos whose people are known, one core for all.

    PEOPLE.csv has the columns photo, least, most, who, enroll: a photo's file, how many faces it shows, the names of
    those who are enrolled (with `;` between), and `yes` for the photos they are enrolled from.
    """
    try:
        shown = read_people(people, photos)
    except BenchError as error:
        typer.echo(f"faceserve bench pairs: {error}", err=True)
        raise typer.Exit(1) from None
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console()
    with console.status("trying the pairs …"):
        told = _measure(_chosen(detector, embedder), shown, rounds)
    conclude({"machine": report.machine(Cores.choose()), NAME: told}, [], out, NAME, console)


def _chosen(detectors: Sequence[str] | None, embedders: Sequence[str] | None) -> list[Pair]:
    settings = Settings()
    store = model_store(settings)
    specs = store.list()
    first = [store.get(name) for name in detectors or ()] or [spec for spec in specs if spec.task == "detector"]
    second = [store.get(name) for name in embedders or ()] or [spec for spec in specs if spec.task == "embedder"]
    found = [(one, other) for one in first for other in second]
    # The configured pair leads, for the others' times are told as ratios to the first one's.
    return sorted(found, key=lambda pair: (pair[0].name, pair[1].name) != (settings.detector, settings.embedder))


def _measure(chosen: Sequence[Pair], photos: Sequence[Photo], rounds: int) -> Json:
    with ExitStack() as stack:
        clients = [stack.enter_context(_open(pair)) for pair in chosen]
        found = [{photo.name: _embeddings(client, photo) for photo in photos} for client in clients]
        seconds: list[list[float]] = [[] for _ in chosen]
        for turn in range(rounds):
            for which in np.roll(np.arange(len(chosen)), turn).tolist():
                seconds[which].append(_time(clients[which], photos))
    return {
        "photos": len(photos),
        "first": f"{chosen[0][0].name} + {chosen[0][1].name}",
        "rows": [
            {
                "detector": pair[0].name,
                "embedder": pair[1].name,
                "ms_per_photo": asdict(Summary.of(1e3 * each / len(photos) for each in taken)),
                "times_first": asdict(ratios(taken, seconds[0])),
                **recognised(photos, embeddings, _threshold(pair[1], sum(photo.enroll for photo in photos))).as_json(),
            }
            for pair, embeddings, taken in zip(chosen, found, seconds, strict=True)
        ],
    }


@contextmanager
def _open(pair: Pair) -> Iterator[FaceClient]:
    """The pair behind the library's calls, with the models of the configured store and a gallery of its own."""
    with TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "models").symlink_to((Settings().data_dir / "models").resolve())
        with open_pipeline(
            data_dir=folder, detector=pair[0].name, embedder=pair[1].name, runtime="onnxruntime", device="cpu",
            workers=1, concurrency=1, threads_per_run=1,
        ) as client:  # fmt: skip
            yield client


def _embeddings(client: FaceClient, photo: Photo) -> Embeddings:
    faces = client.embed(photo.data)["faces"]
    return np.array([face["embedding"] for face in faces], np.float32).reshape(len(faces), client.service.dimension)


def _time(client: FaceClient, photos: Sequence[Photo]) -> float:
    begun = time.perf_counter()
    for photo in photos:
        client.embed(photo.data)
    return time.perf_counter() - begun


def _threshold(embedder: ModelSpec, identities: int) -> float | None:
    return None if embedder.thresholds is None else embedder.thresholds.for_gallery(identities).threshold
