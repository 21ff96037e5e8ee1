"""What every evaluation tells beside its figures: where they come from; and the files they are written into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import typer
from rich.console import Console
from rich.table import Table

from app.evaluation.wording import Json, escape, table
from engines.families import Size, family_called

if TYPE_CHECKING:
    from app.evaluation.run import Method, Run
    from app.settings import Settings
    from engines.models import ModelSpec

Draw = Callable[[Path], None]
DIGEST_SHOWN = 12
RUNTIME_SHOWN = ("runtime", "version", "device", "provider", "precision")
ONE_CORE = ("work_core", "client_core", "load_average")
"""What the benchmarks tell of a machine that says nothing about accuracy."""


def about(run: Run, method: Method, settings: Settings, data: Json) -> Json:
    """What the figures rest on: machine, models, method and data."""
    from app.bench import report
    from app.bench.processes import Cores
    from app.build import least_score

    machine = report.machine(Cores(None, None))
    least = least_score(settings, run.detector) if method.min_score is None else method.min_score
    return {
        "machine": {name: value for name, value in machine.items() if name not in ONE_CORE},
        "models": {
            "detector": None if method.aligned else _model(run.detector, _sizes_run(run.detector, settings)),
            "embedder": _model(run.embedder, run.embedder.sizes),
            "runtime": run.runtime,
        },
        "method": asdict(method) | {"min_score": None if method.aligned else least},
        "data": data,
    }


def opening(title: str, told: Json, data: str, method: str | None = None) -> list[str]:
    """The first lines of a report: what was evaluated. `data` and `method` are sentences, Markdown already."""
    machine, models = told["machine"], told["models"]
    runtime = " ".join(models["runtime"][name] for name in RUNTIME_SHOWN if name in models["runtime"])
    rows = [(task, _model_line(models[task])) for task in ("detector", "embedder") if models[task]]
    rows += [("runtime", escape(runtime)), ("data", data), ("method", method or method_line(told["method"]))]
    version = machine["packages"]["faceserve"]
    rows += [("machine", escape(f"{machine['cpu']}, {machine['cores']} cores"))]
    rows += [("measured", f"{machine['measured_at'][:10]} with faceserve {escape(version)}")]
    return [f"# {title}", "", *_left(table(("", ""), rows))]


def subtitle(told: Json, data: str) -> str:
    """The line below a picture's title: models, data, day."""
    return f"{_pair(told)}; {data}; {told['machine']['measured_at'][:10]}"


def summary_table(told: Json) -> Table:
    """An empty table for the terminal, a row a figure, below the models' names."""
    shown = Table(title=_pair(told), title_justify="left", show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    return shown


def method_line(method: Json) -> str:
    """How a photo became an embedding, in a few words."""
    if method["aligned"]:
        words = "crops as they are, nothing is detected"
    else:
        words = f"the {method['face']} face of a photo, detection score ≥ {method['min_score']:g}"
    return words + (", crop and mirrored crop added" if method["flip"] else "")


def pictures(names: Mapping[str, str]) -> list[str]:
    """Pictures that lie beside the report, by their files, each with what it shows."""
    return [line for name, shows in names.items() for line in (f"![{shows}]({name})", "")]


def conclude(told: Json, lines: Sequence[str], summary: Table, drawn: Mapping[str, Draw], out: Path, name: str) -> None:
    """Writes report, figures and pictures, shows the summary, and says which files there are now."""
    written = write(told, lines, drawn, out, name)
    Console().print(summary)
    for path in written:
        typer.echo(f"written: {path}")


def write(told: Json, lines: Sequence[str], drawn: Mapping[str, Draw], out: Path, name: str) -> list[Path]:
    """Writes `name.json`, `name.md` and the pictures, by their files' names, into the folder `out`; says which."""
    out.mkdir(parents=True, exist_ok=True)
    text, values = out / f"{name}.md", out / f"{name}.json"
    values.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    text.write_text("\n".join(lines).rstrip("\n") + "\n", "utf-8")
    for file, draw in drawn.items():
        draw(out / file)
    return [text, values, *(out / file for file in drawn)]


def bullets(lines: Iterable[str]) -> list[str]:
    """A list, and an empty line after it."""
    return [*(f"- {line}" for line in lines), ""]


def _pair(told: Json) -> str:
    return " + ".join(told["models"][task]["name"] for task in ("detector", "embedder") if told["models"][task])


def _left(lines: list[str]) -> list[str]:
    """A table whose columns are words."""
    return [line.replace("---:", "---") for line in lines]


def _sizes_run(detector: ModelSpec, settings: Settings) -> Sequence[Size]:
    """The sizes at which the detector looks for faces: all, or the largest where the settings say so."""
    every = settings.small_scale or family_called(detector.family).cascade
    return detector.sizes if every else detector.sizes[:1]


def _model(spec: ModelSpec, sizes: Sequence[Size]) -> Json:
    told = [{"height": height, "width": width} for height, width in sizes]
    return {"name": spec.name, "family": spec.family, "digest": spec.digest, "sizes": told}


def _model_line(model: Json) -> str:
    sizes = " and ".join(f"{size['height']}×{size['width']}" for size in model["sizes"])
    return f"{escape(model['name'])} ({escape(model['family'])}, {sizes}, digest `{model['digest'][:DIGEST_SHOWN]}`)"
