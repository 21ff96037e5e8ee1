"""Which names and embeddings come in."""

from __future__ import annotations

import unicodedata
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.local import cursors
from gallery.names import check_collection, check_embeddings, check_identity
from gallery.types import InvalidCursorError, InvalidNameError


@pytest.mark.parametrize(
    "name", ["a", "Jürgen Müller", "山田太郎", "O'Neil; DROP TABLE", "..a", "a" * 200, "🙂", "%_\\"]
)
def test_people_have_all_sorts_of_names(name: str) -> None:
    assert check_identity(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a ", " a", ".", "..", "a/b", "/etc/passwd", "nul\0", "a\nb", "a\tb", "\u202eevil", "\ud800", "\u200b"]
    + ["a" * length for length in (201, 10_000)],
)
def test_what_no_identity_is_called(name: str) -> None:
    with pytest.raises(InvalidNameError):
        check_identity(name)


@given(st.text(max_size=210))
def test_an_accepted_name_stays_as_it_is(name: str) -> None:
    try:
        accepted = check_identity(name)
    except InvalidNameError:
        return
    assert check_identity(accepted) == accepted == unicodedata.normalize("NFC", name)
    assert "/" not in accepted
    assert 1 <= len(accepted) <= 200
    accepted.encode()


@pytest.mark.parametrize("name", ["default", "0", "a.b-c_D", "x" * 64])
def test_collections_have_plain_names(name: str) -> None:
    assert check_collection(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a b", "a/b", "é", "a\n", "x" * 65, "\0"])
def test_what_no_collection_is_called(name: str) -> None:
    with pytest.raises(InvalidNameError):
        check_collection(name)


def test_embeddings_come_out_contiguous_and_unchanged() -> None:
    rows = np.eye(4, dtype=np.float32)[:, ::-1]
    checked = check_embeddings(rows, 4)
    assert checked.flags.c_contiguous
    assert (checked == rows).all()


@given(st.integers(0, 10**17))
def test_a_cursor_leads_back_to_where_it_came_from(key: int) -> None:
    assert cursors.decode(cursors.encode(key)) == key


@given(st.text())
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    with suppress(InvalidCursorError):
        assert cursors.decode(text) >= 0
