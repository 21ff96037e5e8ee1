"""The same figures as a picture. matplotlib comes with the extra `eval` and is imported only here."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.bench.engines import panels
from app.bench.gallery.tables import rates
from app.bench.load.panels import panels as load_panels
from app.bench.pairs.tables import separation
from app.bench.published import writing
from app.bench.statistics import Json

MISSING = "no plot was drawn: matplotlib is missing; install it with `pip install 'faceserve[eval]'`"
OURS, OTHER = "#1f6feb", "#9a9a9a"
Axes = Any


class PlotMissingError(Exception):
    """matplotlib is not installed."""


def draw(told: Json, path: Path) -> None:
    """One panel for each part that was measured, as PNG. Raises PlotMissingError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotMissingError(MISSING) from None
    panels = [(panel, told[part]) for part, some in PANELS.items() if part in told for panel in some]
    panels += load_panels(told["load"]) if "load" in told else []
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(6 * columns, 4 * rows), layout="constrained")
    for number, (panel, part) in enumerate(panels):
        panel(figure.add_subplot(rows, columns, number + 1), part)
    here = told["machine"]
    figure.suptitle(f"{here.get('gpu', here['cpu'])}, {here['measured_at'][:10]}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _throughput(axes: Axes, told: Json) -> None:
    names = ["bare loop", *told["service"]]
    rates = [told["bare_photos_per_s"], *(row["photos_per_s"] for row in told["service"].values())]
    _bars(axes, names, rates, [OTHER, *[OURS] * len(told["service"])])
    axes.set(title="throughput on one core", xlabel="clients", ylabel="photos/s")


def _waits(axes: Axes, told: Json) -> None:
    names = list(told["service"])
    for which, colour in (("p50", OURS), ("p95", "#e3a008"), ("p99", "#d64545")):
        axes.plot(
            names, [told["service"][name]["latency_ms"][which] for name in names], "o-", color=colour, label=which
        )
    axes.set(title="wait for a photo", xlabel="clients", ylabel="ms", ylim=(0, None))
    axes.legend()


def _wire(axes: Axes, told: Json) -> None:
    rates = [told["plain"]["requests_per_s"], told["ours"]["requests_per_s"]]
    _bars(axes, ["plain FastAPI", "faceserve"], rates, [OTHER, OURS])
    axes.set(title="/detect without networks, 200 kB", ylabel="requests/s")


def _steps(axes: Axes, told: Json) -> None:
    names = [row["step"] for row in told["steps"]]
    for offset, side, colour in ((-0.2, "usual", OTHER), (0.2, "ours", OURS)):
        places = [place + offset for place in range(len(names))]
        axes.barh(places, [row[f"{side}_us"]["median"] for row in told["steps"]], 0.4, color=colour, label=side)
    axes.set(
        title="one request without JPEG, networks, search", xlabel="µs", yticks=range(len(names)), yticklabels=names
    )
    axes.invert_yaxis()
    axes.legend()


def _start(axes: Axes, told: Json) -> None:
    _bars(axes, ["bare imports", "to /readyz"], [told["imports_s"], told["to_ready_s"]], [OTHER, OURS])
    axes.set(title="cold start", ylabel="s")


def _soak(axes: Axes, told: Json) -> None:
    held = [value / 2**20 for value in told["resident_bytes"]]
    portion = told["requests"] / max(1, len(held) - 1)
    axes.plot([number * portion for number in range(len(held))], held, color=OURS)
    axes.set(title="worker's memory", xlabel="requests", ylabel="MiB", ylim=(0, None))


def _bars(axes: Axes, names: list[str], summaries: list[Json], colours: list[str]) -> None:
    medians = [summary["median"] for summary in summaries]
    below = [summary["median"] - summary["low"] for summary in summaries]
    above = [summary["high"] - summary["median"] for summary in summaries]
    axes.bar(names, medians, color=colours, yerr=(below, above), capsize=4)
    axes.tick_params(axis="x", labelsize=8)


PANELS: dict[str, tuple[Callable[[Axes, Json], None], ...]] = {
    "throughput": (_throughput, _waits),
    "wire": (_wire,),
    "steps": (_steps,),
    "start": (_start,),
    "soak": (_soak,),
    "engines": (panels.throughput, panels.ratios),
    "tables": (writing.throughput,),
    "pairs": (separation,),
    "gallery": (rates,),
}
