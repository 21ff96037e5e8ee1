"""A verification report says what the figures say, and nothing that they do not carry."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console

from app.evaluation.groups import Groups
from app.evaluation.verification import figures, saving
from app.evaluation.verification.generated import pairs_of
from app.evaluation.verification.report import markdown, rate_of_strangers
from app.evaluation.verification.tables import summary
from app.evaluation.wording import Json
from tests.app.evaluation.made_up import ABOUT, crowd

DATA = {"images": "crowd", "pairs": "generated", "choose_on": None, "people": None, "check_people": None}


def told_of(people: int, *, groups: Groups | None = None, check: bool = False) -> Json:
    """The figures of a made-up crowd, as a run tells them."""
    whole = crowd(people, 3)
    pairs = pairs_of(whole.photos)
    places = {photo.name: place for place, photo in enumerate(whole.photos)}
    assert [places[photo.name] for photo in pairs.photos] == sorted(places[photo.name] for photo in pairs.photos)
    assert len(pairs.photos) == len(whole.photos)
    measured = figures.measure(
        pairs, whole.embedded, table=whole, check=crowd(people, 2, seed=1) if check else None, replicates=100,
        groups=groups,
    )  # fmt: skip
    told = ABOUT | {"data": DATA, "verification": measured}
    measured["thresholds"] = saving.noted(told)
    return told


@pytest.fixture(scope="module")
def many() -> Json:
    """Enough people for thresholds; half of them wear hats."""
    hats = {f"person {n:03}/{3 * n + k}": "hat" if n % 2 else "none | bare" for n in range(200) for k in range(3)}
    return told_of(200, groups={"hats": hats}, check=True)


def section(lines: list[str], title: str) -> str:
    text = "\n".join(lines)
    return re.split(r"^## ", text.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_first_lines_say_what_was_evaluated(many: Json) -> None:
    head = "\n".join(markdown(many, {})).split("## Result")[0]
    assert head.startswith("# Verification")
    for words in ("finder (retinaface, 640×640 and 160×160, digest `dddddddddddd`)", "teller", "crowd", "an abacus",
                  "600 photos of 200 people", "the central face of a photo, detection score ≥ 0.5"):  # fmt: skip
        assert words in head


def test_figures_stand_with_their_intervals(many: Json) -> None:
    found, result = many["verification"], section(markdown(many, {}), "Result")
    auc = found["auc"]
    assert f"{auc['value']:.4f} ({auc['low']:.4f}–{auc['high']:.4f})" in result
    assert f"{100 * found['accuracy']['mean']:.2f} % ± " in result
    assert "over 10 folds" in result


def test_what_is_not_measurable_has_no_digits(many: Json) -> None:
    rows = many["verification"]["tar_at_far"]
    lines = [line for line in section(markdown(many, {}), "True accepts").splitlines() if re.match(r"\| \d", line)]
    assert len(lines) == len(rows)
    assert {row["measurable"] for row in rows} == {True, False}
    for row, line in zip(rows, lines, strict=True):
        assert ("not measurable here" in line) == (not row["measurable"])
        assert ("%" in line) == row["measurable"]


def test_the_far_table_ends_where_the_sample_does(many: Json) -> None:
    rows = many["verification"]["far_table"]["rows"]
    text = section(markdown(many, {}), "Cosine and FAR")
    assert text.count("not measurable here") == 1
    assert text.count("| 1 in") == 1 + max(place + 1 for place, row in enumerate(rows) if row["measurable"])


def test_thresholds_for_both_questions(many: Json) -> None:
    found, text = many["verification"], section(markdown(many, {}), "Thresholds")
    assert f"cosine ≥ **{found['thresholds']['verify']:.3f}**" in text
    assert "| 100,000 |" in text
    assert "the model's table ends" in text  # nobody carries 100,000 identities with 200 people
    assert re.search(r"agree \|\n", section(markdown(many, {}), "Do the FARs hold for other people?"))


@pytest.mark.parametrize(("rate", "words"), [(None, "–"), (0.00981, "0.98 %"), (0.632, "63 %"), (1.0, "100 %")])
def test_strangers_in_per_cent(rate: float | None, words: str) -> None:
    assert rate_of_strangers(rate) == words


def test_groups_are_shown_and_their_names_do_no_harm(many: Json) -> None:
    text = section(markdown(many, {}), "By hats")
    assert r"| none \| bare |" in text
    assert text.count("| hat |") == 1


def test_too_few_people_make_no_thresholds() -> None:
    told = told_of(12)
    text = section(markdown(told, {}), "Thresholds")
    assert "None can be recommended" in text
    assert "| identities |" not in text


def test_the_note_says_what_the_thresholds_rest_on(many: Json) -> None:
    table = many["verification"]["far_table"]
    assert many["verification"]["thresholds"]["note"] == (
        f"measured on crowd (generated): 200 people, 600 photos, {table['pairs']} pairs of different people; "
        "detector finder"
    )


def test_pictures_are_linked_relative_to_the_report(many: Json) -> None:
    assert "![a curve](verification_roc.png)" in markdown(many, {"verification_roc.png": "a curve"})


def test_the_terminal_has_the_short_version(many: Json, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=100).print(summary(many))
    shown = capsys.readouterr().out
    assert "finder + teller" in shown
    assert "threshold 1:1" in shown
    assert shown.count("not measurable here") <= 2


def test_two_runs_tell_the_same() -> None:
    first: Any = told_of(15)["verification"]
    assert first == told_of(15)["verification"]
