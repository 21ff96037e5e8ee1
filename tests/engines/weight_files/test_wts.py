"""tensorrtx' text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines import weight_files
from engines.base import ModelError
from engines.weight_files import WeightFile
from tests.engines.weight_files.writing import wts

ARRAYS = {
    "conv.weight": np.random.default_rng(0).standard_normal((4, 3, 3)).astype(np.float32),
    "one": np.array([-np.inf], np.float32),
}


def read(tmp_path: Path, content: bytes) -> WeightFile:
    path = tmp_path / "weights"
    path.write_bytes(content)
    weights = weight_files.read(path)
    assert weights is not None
    assert weights.kind == "wts"
    assert weights.flat
    return weights


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b" \n", b"\n\n"])
def test_numbers_come_back_flat(newline: bytes, tmp_path: Path) -> None:
    found = read(tmp_path, wts(ARRAYS).replace(b"\n", newline)).arrays
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array.reshape(-1))
        assert found[name].dtype == np.float32


def test_the_last_line_may_end_with_the_file_and_digits_be_capitals(tmp_path: Path) -> None:
    found = read(tmp_path, b"2\nw 2 3F800000 c0000000\nempty 0\nb 1 3f000000".replace(b"2\nw", b"3\nw")).arrays
    np.testing.assert_array_equal(found["w"], [1, -2])
    np.testing.assert_array_equal(found["b"], [0.5])
    assert found["empty"].size == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2\nw 1 3f800000\n", "has 1 tensors, its first line says 2"),
        (b"1\nw 2 3f800000\n", "does not have 2 numbers"),
        (b"1\nw 1 3f800000 3f800000\n", "does not have 1 numbers"),
        (b"1\nw 9999999999 3f800000\n", "does not have 9999999999 numbers"),
        (b"2\nw 1 3f800000\nw 1 3f800000\n", "two tensors called 'w'"),
        (b"1\nw 2 3f800000 3f80000g\n", "not hexadecimal"),
        (b"1\nw 2 3f800000_3f800000\n", "eight digits and a space"),
        (b"1\nw 2 3f800000 3f80000\n", "not hexadecimal"),
        (b"2\nw 1 3f800000\nb one 3f800000\n", "does not start with a name and a length"),
    ],
)
def test_counts_and_lengths_must_be_right(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path, content)


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = wts(ARRAYS)
    for length in range(40, len(content) - 3):
        with pytest.raises(ModelError):
            read(tmp_path, content[:length])
