"""The loaded service in pictures: a panel for each set of photos."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from app.bench.statistics import Json

Axes = Any
COLOURS = ("#1f6feb", "#d64545", "#2da44e", "#e3a008", "#8250df", "#0f9b9b")


def panels(told: Json) -> list[tuple[Callable[[Axes, Json], None], Json]]:
    """Requests/s over the workers, a line for each number of pipeline threads."""
    return [(partial(_requests, name=name), told) for name in told["photos"]]


def _requests(axes: Axes, told: Json, name: str) -> None:
    measured = [each for each in told["combinations"] if "rows" in each]
    for place, threads in enumerate(dict.fromkeys(each["pipeline_threads"] for each in measured)):
        line = [each for each in measured if each["pipeline_threads"] == threads]
        rates = [each["rows"][name]["requests_per_s"] for each in line]
        axes.errorbar(
            [each["workers"] for each in line],
            [rate["median"] for rate in rates],
            yerr=[[rate["median"] - rate["low"] for rate in rates], [rate["high"] - rate["median"] for rate in rates]],
            color=COLOURS[place % len(COLOURS)],
            marker="o",
            capsize=4,
            label=f"{threads} pipeline threads",
        )
    axes.set(title=f"/recognize, {name}", xlabel="workers", ylabel="requests/s", ylim=(0, None))
    axes.set_xticks(sorted({each["workers"] for each in measured}))
    axes.legend()
