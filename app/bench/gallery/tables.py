"""What large galleries cost, in tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from app.bench.statistics import Json
from app.bench.tables import spread, table

OURS, OTHER = "#1f6feb", "#9a9a9a"


def tables(told: Json) -> Iterator[Table]:
    """Searches by themselves, searches together, and what a worker costs."""
    one = table("one search", "faces", "", "p50 ms", "p99 ms", "times ours")
    together = table("searches at once", "faces", "", "searches/s", "of IndexFlatIP's")
    for size in told["sizes"]:
        for who, ms in size["one_ms"].items():
            ratio = spread(size["one_to_ours"][who], 2)
            one.add_row(_which(size), who, f"{ms['p50']:.1f}", f"{ms['p99']:.1f}", ratio)
        for who, rate in size["together_per_s"].items():
            together.add_row(_which(size), who, spread(rate), spread(size["together_to_flat"][who], 2))
    yield one
    yield together
    cost = table(
        "a worker", "faces", "open s", "without snapshot s", "MiB alone", "MiB each of 4", "enrol/s", "search p99"
    )
    for size in told["sizes"]:
        memory = size["memory"]
        alone, each = (
            memory[who]["proportional"] - memory["before"]["proportional"] for who in ("one", "each_of_four")
        )
        enrolling = size["enrolling"]
        cost.add_row(
            _which(size),
            f"{max(size['open_s']):.2f}",
            f"{size['open_without_s']:.2f}",
            f"{alone / 2**20:.0f}",
            f"{each / 2**20:.0f}",
            f"{enrolling['enrolments_per_s']:.0f}",
            f"{enrolling['p99']:.1f} ms",
        )
    yield cost


def rates(axes: Any, told: Json) -> None:
    """Searches a second, many at once."""
    sizes = told["sizes"]
    for offset, who, colour in ((-0.2, "flat", OTHER), (0.2, "ours", OURS)):
        places = [place + offset for place in range(len(sizes))]
        axes.barh(places, [size["together_per_s"][who]["median"] for size in sizes], 0.4, color=colour, label=who)
    axes.set(title=f"{sizes[0]['clients']} searches at once", xlabel="searches/s", xscale="log")
    axes.set_yticks(range(len(sizes)), [_which(size) for size in sizes], fontsize=7)
    axes.legend()


def _which(size: Json) -> str:
    return f"{size['rows']:,} × {size['dimension']}"
