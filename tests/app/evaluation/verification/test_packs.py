"""Packs: written by either Python in any protocol, read; hostile and damaged ones refused, and nothing in them run."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.photos import EvaluationError
from app.evaluation.verification.packs import read_pack
from app.evaluation.verification.pickled import load

IMAGES = [b"a", bytes(range(256)) * 2, b"a", b"\xff\xd8c", b"d", b"d"]
SAME = [True, False, True]


def packed(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "set.bin"
    file.write_bytes(data)
    return file


def of_python_2(images: list[bytes], same: list[bool]) -> bytes:
    """What Python 2 writes at protocol 2: its str are BINSTRING or SHORT_BINSTRING."""
    texts = [
        b"U" + bytes([len(each)]) + each if len(each) < 256 else b"T" + struct.pack("<i", len(each)) + each
        for each in images
    ]
    memos = [text + b"q" + bytes([place]) for place, text in enumerate(texts, start=2)]
    flags = b"".join(b"\x88" if each else b"\x89" for each in same)
    return b"\x80\x02]q\x00(" + b"".join(memos) + b"e]q\x01(" + flags + b"e\x86q\x63."


def check(file: Path) -> None:
    pairs = read_pack(file)
    assert [photo.read() for photo in pairs.photos] == [IMAGES[0], IMAGES[1], IMAGES[3], IMAGES[4]]
    assert [photo.name for photo in pairs.photos] == ["set/00000", "set/00001", "set/00003", "set/00004"]
    assert {photo.person for photo in pairs.photos} == {None}
    assert pairs.left.tolist() == [0, 0, 3]
    assert pairs.right.tolist() == [1, 2, 3]
    assert pairs.same.tolist() == SAME
    assert pairs.fold.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["bytes", "arrays", "numpy bools"])
def test_of_python_3(tmp_path: Path, protocol: int, kind: str) -> None:
    images = [np.frombuffer(each, np.uint8) for each in IMAGES] if kind == "arrays" else IMAGES
    same = [np.bool_(each) for each in SAME] if kind == "numpy bools" else SAME
    check(packed(tmp_path, pickle.dumps((images, same), protocol)))
    check(packed(tmp_path, pickle.dumps([images, same], protocol)))


def test_of_python_2(tmp_path: Path) -> None:
    data = of_python_2(IMAGES, SAME)
    assert pickle.loads(data, encoding="bytes") == (IMAGES, SAME)
    check(packed(tmp_path, data))


def test_ten_folds_of_consecutive_pairs(tmp_path: Path) -> None:
    images = [bytes([n]) for n in range(46)]
    pairs = read_pack(packed(tmp_path, pickle.dumps((images, [True, False] * 11 + [True]), 4)))
    assert pairs.fold.tolist() == sorted([0, 1, 2] * 3 + [3, 4, 5, 6, 7, 8, 9] * 2)  # the first three take the rest


class Calls:
    def __init__(self, called: Any, *arguments: Any) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.called, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        Calls(os.mkdir, "ran"),
        Calls(builtins.eval, "__import__('os').mkdir('ran')"),
        Calls(np.memmap, "ran", "u1", "w+", 0, (9,)),
        (IMAGES, [Calls(os.mkdir, "ran")] * 3),
        np.array([{}], object),
        {"a": 1},
        ({1, 2}, []),
        Path("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, value: Any) -> None:
    monkeypatch.chdir(tmp_path)
    file = packed(tmp_path, pickle.dumps(value, protocol))
    with pytest.raises(EvaluationError, match=r"set\.bin"):
        read_pack(file)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"no pickle",
        pickle.dumps((IMAGES, SAME), 4)[:-40],
        b"\x80\x04]\x8e" + struct.pack("<Q", 2**62) + b"a.",  # bytes longer than the file
        b"\x80\x04N" + b"r\xff\xff\xff\x7f" + b".",  # a memo of two billion places
        b"\x80\x04" + b"N\x85" * 50_000 + b".",  # deep
        b"\x80\x04h\x07.",  # what the memo has not
        b"\x80\x04e.",  # a mark that is not there
        b"\x80\x04NR.",
        b"\x80\x04NNb.",
        b"\x80\x04cnumpy\nndarray\n)R.",
        b"\x80\x04c_codecs\nencode\n(X\x01\x00\x00\x00aX\x06\x00\x00\x00bz2_cotR.",
        b"\x80\x04cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
        pickle.dumps((IMAGES, SAME[:2]), 4),
        pickle.dumps((IMAGES[:2], SAME[:1]), 4),
        pickle.dumps((IMAGES, ["a", "b", "c"]), 4),
        pickle.dumps((["text"] * 6, SAME), 4),
        pickle.dumps((IMAGES, SAME, 3), 4),
        pickle.dumps(([np.zeros(2, np.float32)] * 6, SAME), 4),
    ],
)
def test_what_is_no_pack_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EvaluationError, match=r"set\.bin"):
        read_pack(packed(tmp_path, data))


def read_or_refused(data: bytes) -> None:
    with suppress(EvaluationError):
        load(data, "it")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)
    read_or_refused(b"\x80\x04" + data + b".")


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_pack_with_a_wrong_byte_is_read_or_refused(place: int, byte: int) -> None:
    data = bytearray(pickle.dumps(([np.frombuffer(b"abc", np.uint8)] * 2, [np.True_]), 4))
    data[place % len(data)] = byte
    read_or_refused(bytes(data))
