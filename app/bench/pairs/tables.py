"""The pairs in a table, and as a picture of how far the same person lies from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from app.bench.statistics import Json
from app.bench.tables import spread, table

SAME, OTHER = "#1f6feb", "#d64545"


def tables(told: Json) -> Iterator[Table]:
    """One: whom each pair names, how far apart people lie, and what a photo takes on one core."""
    columns = (
        "photos right",
        "recall",
        "false names",
        "threshold",
        "worst same",
        "best other",
        "ms",
        "times the first",
    )
    shown = table(f"{told['photos']} photos, first {told['first']}", "detector", "embedder", *columns)
    for row in told["rows"]:
        shown.add_row(
            f"{row['detector']} + {row['embedder']}",
            f"{row['photos_right']} of {row['photos']}",
            f"{row['recalled']} of {row['expected']}",
            str(row["false_names"]),
            f"{row['threshold']:.2f}" + ("*" if row["halfway"] else ""),
            f"{row['worst_same']:.2f}",
            f"{row['best_other']:.2f}",
            spread(row["ms_per_photo"]),
            spread(row["times_first"], 2),
        )
    if any(row["halfway"] for row in told["rows"]):
        shown.caption = "*: halfway between the next two on these photos, for the model has no threshold"
    yield shown


def separation(axes: Any, told: Json) -> None:
    """For each pair the least cosine of the same person and the highest of others."""
    rows = told["rows"]
    places = range(len(rows))
    names = [f"{row['detector']}\n+ {row['embedder']}" for row in rows]
    axes.hlines(places, [row["best_other"] for row in rows], [row["worst_same"] for row in rows], color="#9a9a9a")
    for which, colour, label in (("worst_same", SAME, "same person, least"), ("best_other", OTHER, "others, highest")):
        axes.plot([row[which] for row in rows], places, "o", color=colour, label=label)
    axes.plot([row["threshold"] for row in rows], places, "|", color="black", markersize=12, label="threshold")
    axes.set(title="how far apart people lie", xlabel="cosine")
    axes.set_yticks(places, names, fontsize=6)
    axes.invert_yaxis()
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncol=3)
