"""The lines as Markdown, as CSV, on the terminal and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from app.bench.engines.panels import COLOURS, STYLES
from app.bench.published.lines import NAMES, Line, read
from app.bench.statistics import Json
from app.bench.tables import table

COLUMNS = ("input", "batch", "runtime", "measured", "images/s", "average ms", "published", "times")
CAPTION = (
    "device: by the device's clock, tensors lie there; call: from NumPy to NumPy. One run after the other. Published "
    "figures are of other hardware: the last column says where this machine stands, not whose code is better."
)
Axes = Any


def markdown(told: Json, machine: Json) -> str:
    """The whole as one document: where it was measured, a table for each model, what stands beside what."""
    found = read(told)
    parts = [f"Measured on {where(machine)}, {machine['measured_at'][:10]}. {CAPTION}"]
    for title, some in _by_model(found):
        body = [COLUMNS, ("---", *["---:" if each in ("batch", *COLUMNS[4:]) else "---" for each in COLUMNS[1:]])]
        body += [_cells(line) for line in some]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(cells)} |" for cells in body)]
    if notes := list(dict.fromkeys(line.published for line in found if line.published)):
        parts += ["Published:", "\n".join(f"- {note}" for note in notes)]
    if told["left_out"]:
        left_out = (
            f"- {each['network']}, batch {each['batch']}, {each['runtime']}: {' '.join(each['reason'].split())}"
            for each in told["left_out"]
        )
        parts += ["Left out:", "\n".join(left_out)]
    return "\n\n".join(parts) + "\n"


def comma_separated(told: Json) -> str:
    """The lines with all their digits; what is not known is empty. The first row names the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows([getattr(line, name) for name in NAMES] for line in read(told))
    return text.getvalue()


def tables(told: Json) -> Iterator[Table]:
    """For the terminal, one for each model."""
    for title, some in _by_model(read(told)):
        shown = table(title, *COLUMNS)
        for line in some:
            shown.add_row(*_cells(line))
        yield shown


def throughput(axes: Axes, told: Json) -> None:
    """Images/s over the batch: a colour for each network, a stroke for each runtime and way; what was published as
    crosses in the network's colour."""
    found = read(told)
    networks = list(dict.fromkeys(_network(line) for line in found))
    strokes = list(dict.fromkeys((line.runtime, line.way) for line in found))
    for place, network in enumerate(networks):
        colour = COLOURS[place % len(COLOURS)]
        for number, stroke in enumerate(strokes):
            points = sorted(
                (line.batch, line.images_per_s)
                for line in found
                if _network(line) == network and (line.runtime, line.way) == stroke
            )
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", color=colour, linestyle=STYLES[number % len(STYLES)])
        crosses = {(line.batch, line.published_per_s) for line in found if _network(line) == network and line.published}
        axes.plot(*(zip(*crosses, strict=True) if crosses else ([], [])), "x", color=colour)
        axes.plot([], [], color=colour, label=network)
    for number, (runtime, way) in enumerate(strokes):
        axes.plot([], [], color="black", linestyle=STYLES[number % len(STYLES)], label=f"{runtime}, {way}")
    axes.set(title="throughput (x: published)", xlabel="batch", ylabel="images/s", xscale="log", yscale="log")
    batches = sorted({line.batch for line in found})
    axes.set_xticks(batches, labels=[str(batch) for batch in batches])
    axes.tick_params(axis="x", labelsize=6)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.legend(fontsize=6)


def where(machine: Json) -> str:
    """The GPU where there was one, else the CPU."""
    return str(machine.get("gpu") or f"one core of {machine['cpu']} (no GPU)")


def _by_model(found: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    order = list(dict.fromkeys(line.model for line in found))
    for model, some in groupby(sorted(found, key=lambda line: order.index(line.model)), key=lambda line: line.model):
        kept = list(some)
        yield f"{model}{', random weights' if kept[0].random_weights else ''}", kept


def _cells(line: Line) -> tuple[str, ...]:
    published = "" if line.published_per_s is None else f"{line.published_per_s:,.0f}"
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    figures = (f"{line.images_per_s:,.0f}", f"{line.latency_ms:.3f}", published, ratio)
    return (f"{line.height}x{line.width}", str(line.batch), line.runtime, line.way, *figures)


def _network(line: Line) -> str:
    return f"{line.model}@{line.height}x{line.width}"
