"""Figures as words: no digits that the sample does not carry, no name that breaks a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation import wording


def interval(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (interval(0.9883, 0.985, 0.991), "98.83 % (98.5–99.1)"),
        (interval(0.998321, 0.99812, 0.99851), "99.83 % (99.81–99.85)"),
        (interval(0.5, 0.3, 0.7), "50.00 % (30.0–70.0)"),
        (interval(1.0, 0.9991, 1.0), "100.00 % (99.91–100.00)"),
        (interval(1.0, 1.0, 1.0), "100.00 % (100.00–100.00)"),
        (interval(0.25), "25.00 %"),
        (interval(None), "–"),
        (None, "–"),
    ],
)
def test_percent(given: Any, expected: str) -> None:
    assert wording.percent(given) == expected


def test_small_rates_and_areas() -> None:
    assert wording.small(interval(1.04e-4, 7.1e-5, 1.4e-4)) == "1.0e-4 (7.1e-5–1.4e-4)"
    assert wording.small(interval(0.0, 0.0, 3e-3)) == "0 (0–3.0e-3)"
    assert wording.small(interval(None)) == "–"
    assert wording.plain(interval(0.99871, 0.9981, 0.9992)) == "0.9987 (0.9981–0.9992)"
    assert wording.plain(interval(0.99871)) == "0.9987"


def test_powers_and_chances() -> None:
    assert [wording.power(far, 0) for far in (1.0, 0.1, 5e-2, 1e-6)] == ["1", "1e-1", "5e-2", "1e-6"]
    assert wording.one_in(1e-4) == "1 in 10,000"
    assert wording.one_in(0) == "none"
    assert wording.cosine(None) == "–"


def test_a_name_cannot_break_a_table() -> None:
    assert wording.escape("a|b [c](d) <e> *f* _g_ h_i\nj") == r"a\|b \[c\](d) \<e\> \*f\* \_g\_ h_i j"
    lines = wording.table(("name", "n"), [(wording.escape("|\n|"), "1")])
    assert lines == ["| name | n |", "| --- | ---: |", r"| \| \| | 1 |", ""]


@given(st.text(max_size=80), st.integers(3, 40))
def test_short_names_keep_both_ends(name: str, longest: int) -> None:
    short = wording.short(name, longest)
    assert len(short) <= longest
    assert "\n" not in short
    clean = wording.UNSEEN.sub(" ", name)
    if len(clean) > longest:
        head, _, tail = short.rpartition("…")
        assert clean.startswith(head)
        assert clean.endswith(tail)
    else:
        assert short == clean
