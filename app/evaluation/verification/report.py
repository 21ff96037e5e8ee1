"""A verification run as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.evaluation import report
from app.evaluation.wording import (
    NOT_MEASURABLE,
    NOTHING,
    Json,
    cosine,
    escape,
    one_in,
    percent,
    plain,
    power,
    small,
    table,
)

IMPOSTORS = {"pairs": "of the pairs", "all": "all"}
HOW = (
    "An interval in brackets is a 95 % one, from a bootstrap over people: photos of one person are no independent "
    "witnesses, so whole persons are drawn, not photos or pairs.",
    "FAR (false accept rate) is the share of pairs of different people that pass a threshold, TAR (true accept rate) "
    "that of pairs of the same person. `all` impostors are all pairs of photos of different people.",
    f"A FAR is “{NOT_MEASURABLE}” when its interval reaches 0 or spans more than a factor of 3; thresholds are made of "
    "measurable rows only.",
    "A photo without a face counts as a rejection: right for different people, wrong for the same person. The FAR "
    "table is made of photos with a face.",
    "The accuracy's threshold is never chosen on the pairs it is tried on. For 1:N the threshold is that at which a "
    "stranger is named less than once in a hundred searches, strangers to all identities taken as independent.",
)


def markdown(told: Json, pictures: Mapping[str, str]) -> list[str]:
    """The lines of the report; `pictures` are the files beside it, with what each shows."""
    figures = told["verification"]
    lines = report.opening("Verification: the same person or not", told, data_line(told["data"], figures))
    lines += ["## Result", "", *table(("", ""), result(figures))]
    lines += ["## True accepts", "", *_accepts(figures), *_thresholds(figures), *_far_table(figures), *_check(figures)]
    for attribute, rows in figures["groups"].items():
        lines += [f"## By {escape(attribute)}", "", *_groups(rows)]
    lines += [*_worst(figures["worst"]), *_unreadable(figures["unreadable"])]
    lines += ["## Pictures", "", *report.pictures(pictures)]
    return [*lines, "## How it was measured", "", *report.bullets(HOW)]


def data_line(data: Json, figures: Json) -> str:
    """What was evaluated on."""
    pairs, people = figures["pairs"], figures["people"]
    whose = f" of {people:,} people" if people else ""
    folds = f" in {pairs['folds']} folds" if pairs["folds"] > 1 else ""
    named = ", ".join(f"{what.replace('_', ' ')} {escape(name)}" for what, name in data.items() if name)
    return (
        f"{named}: {figures['photos']:,} photos{whose}, {pairs['genuine']:,} pairs of the same and "
        f"{pairs['impostor']:,} of different people{folds}"
    )


def result(figures: Json) -> Iterator[tuple[str, str]]:
    """The figures that are one number each, as Markdown."""
    accuracy, pairs = figures["accuracy"], figures["pairs"]
    yield "photos with a face found", percent(figures["detection_rate"])
    yield "photos without, of all", f"{figures['undetected']:,} of {figures['photos']:,}"
    yield "pairs with such a photo", f"{pairs['with_undetected']:,} of {pairs['genuine'] + pairs['impostor']:,}"
    yield "photos with several faces", f"{figures['several_faces']:,}"
    yield f"accuracy, threshold chosen on {escape(accuracy['chosen_on'])}", accuracy_words(accuracy)
    yield "area under the ROC (AUC)", plain(figures["auc"])
    yield "equal error rate (EER)", percent(figures["eer"])


def accuracy_words(accuracy: Json) -> str:
    """`98.83 % ± 0.45 over 10 folds, at cosine 0.31–0.33`."""
    if accuracy["mean"] is None:
        return NOTHING
    folds, thresholds = len(accuracy["folds"]), accuracy["thresholds"]
    spread = f" ± {100 * accuracy['std']:.2f} over {folds} folds" if folds > 1 and accuracy["std"] is not None else ""
    low, high = cosine(min(thresholds)), cosine(max(thresholds))
    return f"{100 * accuracy['mean']:.2f} %{spread}, at cosine {low if low == high else f'{low}–{high}'}"


def _accepts(figures: Json) -> list[str]:
    rows = []
    for row in figures["tar_at_far"]:
        found = small(row["far_found"]) if row["measurable"] else NOT_MEASURABLE
        accepts = percent(row["tar"]) if row["measurable"] else NOT_MEASURABLE
        threshold = cosine(row["threshold"]) if row["measurable"] else NOTHING
        rows.append((power(row["far"], 0), IMPOSTORS[row["impostors"]], threshold, found, accepts))
    headers = ("FAR", "impostors", "cosine", "FAR found", "TAR")
    return [*table(headers, rows), *_why_not(figures)]


def _why_not(figures: Json) -> list[str]:
    """Why some FARs are not measurable, each reason once."""
    fars: dict[str, list[str]] = {}
    for row in figures["tar_at_far"]:
        if row["why"]:
            fars.setdefault(row["why"], []).append(f"{power(row['far'], 0)} ({IMPOSTORS[row['impostors']]})")
    return report.bullets(f"{', '.join(which)}: {escape(why)}" for why, which in fars.items()) if fars else []


def _thresholds(figures: Json) -> list[str]:
    lines = ["## Thresholds", ""]
    if not figures["thresholds"]:
        return [*lines, f"None can be recommended from these photos: {escape(figures['why_no_thresholds'] or '')}.", ""]
    found = figures["thresholds"]
    far = found["verify_far"]
    lines += [f"1:1 (`/verify`): cosine ≥ **{cosine(found['verify'])}**, at a FAR of {power(far)} ({one_in(far)}).", ""]
    lines += ["1:N (`/recognize`), by the number of identities in the gallery:", ""]
    rows = [
        (f"{row['identities']:,}", cosine(row["threshold"]), rate_of_strangers(row["expected_false_match_rate"]))
        for row in figures["one_to_many"]
    ]
    lines += table(("identities", "cosine", "strangers given a name"), rows)
    warned = [row for row in figures["one_to_many"] if row["warning"]]
    return [
        *lines,
        *report.bullets(
            [f"From {warned[0]['identities']:,} identities: {escape(warned[0]['warning'])}"] if warned else []
        ),
    ]


def rate_of_strangers(rate: float | None) -> str:
    """How many of the strangers are named, in per cent."""
    if rate is None:
        return NOTHING
    return f"{100 * rate:.0f} %" if rate >= 0.1 else f"{100 * rate:.2g} %"


def _far_table(figures: Json) -> list[str]:
    found = figures["far_table"]
    if not found:
        return []
    lines = [
        "## Cosine and FAR",
        "",
        f"From all {found['pairs']:,} pairs of different people among {found['photos']:,} ",
    ]
    lines[-1] += f"photos of {found['people']:,} people, at most {found['photos_of_one']} of each."
    last = max((place for place, row in enumerate(found["rows"]) if row["measurable"]), default=-1)
    rows = [
        (power(row["far"], 0), one_in(row["far"]), cosine(row["threshold"]), small(row["found"]))
        if row["measurable"]
        else (power(row["far"], 0), one_in(row["far"]), NOTHING, NOT_MEASURABLE)
        for row in found["rows"][: last + 1]
    ]
    if last + 1 < len(found["rows"]):
        least = found["rows"][last + 1]["far"]
        rows.append((f"{power(least, 0)} and less", one_in(least), NOTHING, NOT_MEASURABLE))
    return [*lines, "", *table(("FAR", "", "cosine", "found"), rows)]


def _check(figures: Json) -> list[str]:
    found = figures["check"]
    if not found:
        return []
    words = f"On all {found['pairs']:,} pairs of different people among {found['photos']:,} other photos of "
    words += f"{found['people']:,} other people."
    rows = [
        (cosine(row["threshold"]), power(row["promised"]), small(row["found"]), "yes" if row["agrees"] else "**no**")
        for row in found["rows"]
    ]
    lines = ["## Do the FARs hold for other people?", "", words, ""]
    return lines + table(("cosine", "FAR promised", "found", "agree"), rows)


def _groups(rows: list[Json]) -> list[str]:
    cells = [
        (
            escape(row["group"]),
            f"{row['photos']:,}",
            "" if row["people"] is None else f"{row['people']:,}",
            percent(row["detection_rate"]),
            small(row["fmr"]),
            percent(row["fnmr"]),
        )
        for row in rows
    ]
    at = next((row["threshold"] for row in rows if row["threshold"] is not None), None)
    words = [] if at is None else [f"Within each group, at cosine ≥ {cosine(at)}.", ""]
    headers = ("group", "photos", "people", "face found", "false matches", "false non-matches")
    few = ["Those without an interval have too few people for one.", ""] if any(row["why"] for row in rows) else []
    return [*words, *few, *table(headers, cells)]


def _worst(worst: Json) -> list[str]:
    """The pairs of the contact sheet."""
    kinds = {"false_accepts": "different people", "false_rejects": "the same person"}
    rows = [
        (escape(row["left"]), escape(row["right"]), words, cosine(row["similarity"]))
        for kind, words in kinds.items()
        for row in worst[kind]
    ]
    return ["## Worst mistakes", "", *table(("photo", "photo", "of", "cosine"), rows)] if rows else []


def _unreadable(names: list[str]) -> list[str]:
    if not names:
        return []
    return ["## Photos that could not be read", "", *report.bullets(escape(name) for name in names)]
