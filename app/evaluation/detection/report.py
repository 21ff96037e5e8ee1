"""What a run of detection found, for people: Markdown beside the JSON."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from app.evaluation.detection.plots import size_name
from app.evaluation.detection.wider_truth import SUBSETS
from app.evaluation.report import bullets, opening, pictures
from app.evaluation.wording import NOTHING, Json, escape, percent, table

NAMED_AT_MOST = 10


def markdown(told: Json, shown: Mapping[str, str]) -> list[str]:
    """The report's lines. `shown` are the three pictures beside it, each with what it shows."""
    figures, (precision, sizes, worst) = told["detection"], shown.items()
    method = f"every face with a score ≥ {figures['least_score']:g}; served are those ≥ {figures['serving_score']:g}"
    return [
        *opening("Detection", told, _data(told["data"], figures), method),
        *_unreadable(figures["unreadable"]),
        *_areas(figures),
        *_served(figures),
        *pictures(dict([precision])),
        *_sizes(figures),
        *pictures(dict([sizes])),
        *_wider(figures["wider"]),
        *_groups(figures),
        *_worst(figures),
        *pictures(dict([worst])),
        *_counted(),
    ]


def summary(told: Json) -> Table:
    """What one wants to see first, for the terminal."""
    figures = told["detection"]
    shown = Table(title=told["models"]["detector"]["name"], title_justify="left")
    shown.add_column("")
    for row in figures["at_iou"]:
        shown.add_column(f"IoU {row['iou']:g}", justify="right")
    rows = [(row, row["serving"]) for row in figures["at_iou"]]
    shown.add_row("AP", *(percent(row["ap"]) for row, _ in rows))
    for name in ("precision", "recall"):
        shown.add_row(f"{name}, score ≥ {figures['serving_score']:g}", *(percent(served[name]) for _, served in rows))
    shown.add_row("false a photo", *(_count(served["false_per_photo"]) for _, served in rows))
    if figures["wider"]:
        aps = ", ".join(f"{name} {_percent(figures['wider'][name]['ap'])}" for name in SUBSETS)
        shown.caption, shown.caption_justify = f"WIDER FACE: {aps}", "left"
    return shown


def _data(data: Json, figures: Json) -> str:
    chosen = "" if data["only"] == "*" else f", those called {escape(data['only'])}"
    chosen += "" if data["first"] is None else f", the first {data['first']:,} by name"
    return (
        f"{figures['photos']:,} photos of {escape(data['images'])} with {figures['faces']:,} faces by "
        f"{escape(data['annotations'])}, {figures['ignored']:,} more ignored{chosen}"
    )


def _unreadable(names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    shown = ", ".join(map(escape, names[:NAMED_AT_MOST])) + more
    count = "1 photo" if len(names) == 1 else f"{len(names):,} photos"
    return [f"**{count} could not be read** and left out, with the faces shown: {shown}.", ""]


def _areas(told: Json) -> list[str]:
    rows = [
        (
            f"{row['iou']:g}",
            percent(row["ap"]),
            _percent(row["ap_envelope"]),
            _percent(row["ap_eleven"]),
            _percent(row["recall_reached"]),
        )
        for row in told["at_iou"]
    ]
    headers = ("IoU", "AP", "under the envelope", "at 11 recalls", "recall reached")
    return ["## Average precision", "", *table(headers, rows)]


def _served(told: Json) -> list[str]:
    rows = [
        (
            f"{row['iou']:g}",
            percent(row["serving"]["precision"]),
            percent(row["serving"]["recall"]),
            _percent(row["serving"]["f1"]),
            f"{row['serving']['missed']:,}",
            f"{row['serving']['false']:,}",
            _count(row["serving"]["false_per_photo"]),
            _best(row["best_f1"]),
        )
        for row in told["at_iou"]
    ]
    headers = ("IoU", "precision", "recall", "F1", "missed", "false", "false a photo", "best F1")
    return [f"## As served, score ≥ {told['serving_score']:g}", "", *table(headers, rows)]


def _sizes(told: Json) -> list[str]:
    headers = ["px", "faces"]
    for row in told["at_iou"]:
        headers += [f"recall, IoU {row['iou']:g}", f"any score ≥ {told['least_score']:g}"]
    parallel = zip(*(row["by_size"] for row in told["at_iou"]), strict=True)
    rows = [
        [
            size_name(sizes[0]),
            f"{sizes[0]['faces']:,}",
            *(text for row in sizes for text in (percent(row["recall"]), _percent(row["recall_reached"]))),
        ]
        for sizes in parallel
    ]
    return [
        "## Recall by size",
        "",
        "By the shorter side of the face in the photo, as served.",
        "",
        *table(headers, rows),
    ]


def _wider(told: Json | None) -> list[str]:
    if told is None:
        return []
    rows = [(name, f"{told[name]['faces']:,}", _percent(told[name]["ap"])) for name in SUBSETS]
    share = "" if told["photos"] == told["of_photos"] else ": not comparable with figures of the whole set"
    return [
        "## WIDER FACE's protocol",
        "",
        f"IoU 0.5, {told['photos']:,} of the ground truth's {told['of_photos']:,} photos{share}.",
        "",
        *table(("subset", "faces", "AP"), rows),
    ]


def _groups(told: Json) -> list[str]:
    found = []
    for attribute, groups in told["groups"].items():
        rows = [
            (escape(row["group"]), f"{row['photos']:,}", f"{row['faces']:,}", percent(row["recall"])) for row in groups
        ]
        iou = told["at_iou"][0]["iou"]
        headers = (escape(attribute), "photos", "faces", f"recall, IoU {iou:g}")
        found += [f"## By {escape(attribute)}", "", *table(headers, rows)]
    return found


def _worst(told: Json) -> list[str]:
    if not told["worst"]:
        return []
    rows = [(escape(row["photo"]), f"{row['missed']:,}", f"{row['false']:,}") for row in told["worst"]]
    iou = told["at_iou"][0]["iou"]
    return [f"## Most mistakes, IoU {iou:g}", "", *table(("photo", "missed", "false"), rows)]


def _counted() -> list[str]:
    return [
        "## How it was counted",
        "",
        *bullets(
            [
                "Best score first, a detection takes the face of its photo that overlaps it most and is not taken yet, "
                "if by the IoU or more; any other is false.",
                "AP is the area under the staircase of precision over recall (scikit-learn's "
                "`average_precision_score` times the recall reached); the envelope's is PASCAL VOC's since 2010, that "
                "at 11 recalls is PASCAL VOC's of 2007.",
                "Ignored faces are not missed, and detections that lie within one are left out.",
                "Intervals (95 %) are a bootstrap's over photos: people are not known here.",
            ]
        ),
    ]


def _percent(value: float | None) -> str:
    return percent({"value": value, "low": None, "high": None})


def _count(interval: Json) -> str:
    return f"{interval['value']:.3f} ({interval['low']:.3f}–{interval['high']:.3f})"


def _best(best: Json | None) -> str:
    return NOTHING if best is None else f"{100 * best['f1']:.2f} % at {best['score']:.3f}"
