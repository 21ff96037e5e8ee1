"""An identification run as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from app.evaluation import report
from app.evaluation.wording import NOT_MEASURABLE, NOTHING, Json, cosine, escape, percent, table

RANKS_SHOWN = (1, 2, 3, 5, 10, 20)
HOW = (
    "An interval in brackets is a 95 % one, from a bootstrap over the people on the probes, with this gallery.",
    "Rank k: the share of probes of people in the gallery for whom the right identity is among the k most similar; an "
    "identity is as similar as the best of its faces.",
    "FPIR (false positive identification rate) is the share of probes of other people that are given a name, FNIR "
    "(false negative) that of probes of people in the gallery who are not named, or wrongly (NISTIR 8271).",
    "A probe without a face counts as a rejection: a miss where the person is in the gallery. So does one of a person "
    "on whose gallery photos no face was found.",
    f"An FPIR is “{NOT_MEASURABLE}” when its interval reaches 0 or spans more than a factor of 3.",
)


def markdown(told: Json, pictures: Mapping[str, str]) -> list[str]:
    """The lines of the report; `pictures` are the files beside it, with what each shows."""
    figures = told["identification"]
    lines = report.opening("Identification: who of a gallery is it?", told, _data_line(told["data"], figures))
    lines += ["## Result", "", *_counts(figures), *_ranks(figures)]
    lines += ["## Strangers", "", *_open_set(figures), *_recommended(figures)]
    for attribute, rows in figures["groups"].items():
        lines += [f"## By {escape(attribute)}", "", *_groups(rows)]
    unreadable = figures["gallery"]["unreadable"] + figures["probes"]["unreadable"]
    if unreadable:
        lines += ["## Photos that could not be read", "", *report.bullets(map(escape, unreadable))]
    lines += ["## Pictures", "", *report.pictures(pictures)]
    return [*lines, "## How it was measured", "", *report.bullets(HOW)]


def _data_line(data: Json, figures: Json) -> str:
    gallery, probes = figures["gallery"], figures["probes"]
    return (
        f"gallery {escape(data['gallery'])}: {gallery['photos']:,} photos of {gallery['identities']:,} people; "
        f"probes {escape(data['probes'])}: {probes['photos']:,} photos of {probes['people']:,} people, "
        f"{probes['with_mate']:,} of them of people in the gallery"
    )


def _counts(figures: Json) -> list[str]:
    gallery, probes = figures["gallery"], figures["probes"]
    rows = [
        ("people in the gallery with a face found", f"{gallery['enrolled']:,} of {gallery['identities']:,}"),
        ("gallery photos without a face", f"{gallery['undetected']:,} of {gallery['photos']:,}"),
        ("probes with a face found", percent(probes["detection_rate"])),
    ]
    return table(("", ""), rows)


def _ranks(figures: Json) -> list[str]:
    rows = [(str(row["rank"]), percent(row)) for row in figures["cmc"] if row["rank"] in RANKS_SHOWN]
    return table(("rank", "right identity among the first"), rows)


def _open_set(figures: Json) -> list[str]:
    rows = [
        (f"{100 * row['fpir']:g} %", cosine(row["threshold"]), percent(row["fpir_found"]), percent(row["fnir"]))
        if row["measurable"]
        else (f"{100 * row['fpir']:g} %", NOTHING, NOT_MEASURABLE, NOT_MEASURABLE)
        for row in figures["open_set"]
    ]
    why = {row["why"]: None for row in figures["open_set"] if row["why"]}
    return [*table(("FPIR", "cosine", "FPIR found", "FNIR"), rows), *(report.bullets(map(escape, why)) if why else [])]


def _recommended(figures: Json) -> list[str]:
    lines = ["## At the model's own threshold", ""]
    found = figures["recommended"]
    if not found:
        return [*lines, "The embedder has no thresholds: `faceserve eval verification --save` measures them.", ""]
    far = "of which nothing was measured" if found["far"] is None else f"with a FAR of {found['far']:.1e}"
    lines += [f"Cosine ≥ **{cosine(found['threshold'])}** for {found['identities']:,} identities, {far}.", ""]
    if found["warning"]:
        lines += [escape(found["warning"]) + ".", ""]
    known, strangers = found["with_mate"], found["without_mate"]
    rows = [
        ("somebody of the gallery", percent(known["right"]), percent(known["wrong"]), percent(known["no_name"])),
        ("somebody else", NOTHING, percent(strangers["named"]), percent(strangers["no_name"])),
    ]
    lines += table(("the probe shows", "right name", "wrong name", "no name"), rows)
    if found["expected_false_match_rate"] is not None:
        lines += [
            f"By its table, {100 * found['expected_false_match_rate']:.2g} % of strangers would be given a name.",
            "",
        ]
    return lines


def _groups(rows: list[Json]) -> list[str]:
    cells = [
        (
            escape(row["group"]),
            f"{row['photos']:,}",
            f"{row['people']:,}",
            *(percent(row[name]) for name in ("detection_rate", "rank_1", "fnir", "fpir")),
        )
        for row in rows
    ]
    at = next((row["threshold"] for row in rows if row["threshold"] is not None), None)
    words = [] if at is None else [f"FNIR and FPIR at cosine ≥ {cosine(at)}.", ""]
    few = ["Those without an interval have too few people for one.", ""] if any(row["why"] for row in rows) else []
    return [*words, *few, *table(("group", "probes", "people", "face found", "rank 1", "FNIR", "FPIR"), cells)]
