"""Detection in pictures: precision over recall, and recall by size."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.evaluation.plots import BLUE, DARK, GREY, ORANGE, RED, Axes, drawing, legend
from app.evaluation.wording import Json

COLOURS: Final = (BLUE, ORANGE, RED, GREY)


def precision_recall(told: Json, subtitle: str, path: Path) -> None:
    """One line an IoU, with what the service takes for a face as a dot."""
    with drawing(path, "Precision over recall", subtitle) as axes:
        for place, row in enumerate(told["at_iou"]):
            colour, curve, serving = COLOURS[place % len(COLOURS)], row["curve"], row["serving"]
            label = f"IoU {row['iou']:g}, AP {100 * row['ap']['value']:.1f} %"
            recall, precision = [[100 * value for value in curve[name]] for name in ("recall", "precision")]
            axes.plot(recall, precision, color=colour, linewidth=1.8, label=label)
            if serving["precision"]["value"] is not None:
                dot = 100 * serving["recall"]["value"], 100 * serving["precision"]["value"]
                axes.plot(*dot, "o", color=colour, markersize=7, markeredgecolor="white")
        axes.plot([], [], "o", color=DARK, label=f"served: score ≥ {told['serving_score']:g}")
        axes.set(xlim=(0, 101), ylim=(0, 101), xlabel="recall, %", ylabel="precision, %")
        legend(axes, loc="lower left")


def recall_by_size(told: Json, subtitle: str, path: Path) -> None:
    """Bars with their intervals for each size, one an IoU; lighter above them what any score at all would find."""
    with drawing(path, "Recall by size", subtitle) as axes:
        width = 0.8 / len(told["at_iou"])
        for place, at_iou in enumerate(told["at_iou"]):
            colour = COLOURS[place % len(COLOURS)]
            for step, row in enumerate(at_iou["by_size"]):
                if row["faces"]:
                    _bar(axes, step - 0.4 + (place + 0.5) * width, row, width, colour)
            axes.bar([0], [0], color=colour, label=f"IoU {at_iou['iou']:g}, score ≥ {told['serving_score']:g}")
        axes.bar([0], [0], color=DARK, alpha=0.25, label=f"any score ≥ {told['least_score']:g}")
        sizes = told["at_iou"][0]["by_size"]
        names = [f"{size_name(row)}\n{row['faces']:,} faces" for row in sizes]
        axes.set(xticks=range(len(sizes)), xlim=(-0.6, len(sizes) - 0.4), ylim=(0, 101), ylabel="recall, %")
        axes.set_xticklabels(names)
        axes.set_xlabel("shorter side of the face in the photo, px")
        legend(axes, loc="upper left")


def size_name(row: Json) -> str:
    """`8–16`, from the first to below the second; `< 8` and `≥ 128` at the ends."""
    if row["below_px"] is None:
        return f"≥ {row['from_px']:g}"
    return f"{row['from_px']:g}–{row['below_px']:g}" if row["from_px"] else f"< {row['below_px']:g}"


def _bar(axes: Axes, at: float, row: Json, width: float, colour: str) -> None:
    recall = row["recall"]
    value = 100 * recall["value"]
    bounds = [[max(0, value - 100 * recall["low"])], [max(0, 100 * recall["high"] - value)]]
    axes.bar(at, 100 * row["recall_reached"], width, color=colour, alpha=0.25)
    axes.bar(at, value, width, color=colour, yerr=bounds, ecolor=DARK, capsize=3, error_kw={"linewidth": 1})
