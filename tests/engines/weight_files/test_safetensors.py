"""safetensors files: what is in them, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from engines import weight_files
from engines.base import ModelError
from engines.weight_files import WeightFile
from tests.engines.weight_files.writing import safetensors

CODES = {
    **{"F64": "f8", "F32": "f4", "F16": "f2", "BOOL": "?", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1"},
    **{"U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"},
}
TWO = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def read(tmp_path: Path, content: bytes) -> WeightFile:
    path = tmp_path / "weights"
    path.write_bytes(content)
    weights = weight_files.read(path)
    assert weights is not None
    assert weights.kind == "safetensors"
    return weights


def test_every_dtype_comes_back_as_it_was(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {code: random.integers(0, 2, (2, 3)).astype(dtype) for code, dtype in CODES.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for code, array in arrays.items():
        place = [len(numbers), len(numbers) + array.nbytes]
        header[f"w.{code}"] = {"dtype": code, "shape": [2, 3], "data_offsets": place}
        numbers += array.tobytes()
    found = read(tmp_path, safetensors(dict(reversed(header.items())), numbers)).arrays
    assert list(found) == [f"w.{code}" for code in CODES]
    for code, array in arrays.items():
        assert found[f"w.{code}"].dtype == array.dtype
        np.testing.assert_array_equal(found[f"w.{code}"], array)


def test_scalars_empty_tensors_and_bfloat16(tmp_path: Path) -> None:
    header = {
        "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]},
        "half": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        "one": {"dtype": "I16", "shape": [], "data_offsets": [4, 6]},
    }
    found = read(tmp_path, safetensors(header, b"\x80\x3f\x00\xc0\x07\x00")).arrays
    np.testing.assert_array_equal(found["half"], np.array([1, -2], np.float32))
    assert found["empty"].shape == (0, 4)
    assert found["one"] == 7


@pytest.mark.parametrize(
    ("header", "count", "message"),
    [
        ({"w": TWO}, 7, "cut short"),
        ({"w": TWO}, 9, "do not end"),
        ({"w": TWO, "v": TWO}, 8, "overlap"),
        ({"w": TWO, "v": TWO | {"data_offsets": [4, 12]}}, 12, "overlap"),
        ({"w": TWO, "v": TWO | {"data_offsets": [12, 20]}}, 20, "gap"),
        ({"w": TWO | {"data_offsets": [8, 0]}}, 8, "gap"),
        ({"w": TWO | {"data_offsets": [-8, 0]}}, 8, "dtype, shape and place"),
        ({"w": TWO | {"data_offsets": [0, 2**70]}}, 8, "dtype, shape and place"),
        ({"w": TWO | {"data_offsets": [0, 2**40]}}, 8, "cut short"),
        ({"w": TWO | {"data_offsets": [0, 7]}}, 7, "gap"),
        ({"w": TWO | {"data_offsets": [0]}}, 8, "dtype, shape and place"),
        ({"w": TWO | {"shape": [3]}}, 8, "no tensor"),
        ({"w": TWO | {"shape": [-2]}}, 8, "dtype, shape and place"),
        ({"w": TWO | {"shape": [2.0]}}, 8, "dtype, shape and place"),
        ({"w": TWO | {"shape": [1] * 9 + [2]}}, 8, "no tensor"),
        ({"w": TWO | {"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, 0, "no tensor"),
        ({"w": TWO | {"dtype": "F8_E4M3"}}, 8, "known are F64, F32"),
        ({"w": TWO | {"dtype": 32}}, 8, "dtype, shape and place"),
        ({"w": [TWO]}, 8, "dtype, shape and place"),
        ({"__metadata__": {}}, 0, "no arrays"),
        (b'{"w": 1, "w": 2}', 0, "twice"),
        (b'{"w": ', 0, "not JSON"),
        (b'{"w": ' + b"[" * 100_000, 0, "not JSON"),
        (b'{"\xff": 1}', 0, "not JSON"),
        (b'{"w": {"dtype": "F32", "shape": [' + b"9" * 4000 + b'], "data_offsets": [0, 8]}}', 8, "dtype, shape"),
    ],
)
def test_claims_that_do_not_fit_are_refused(header: object, count: int, message: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message):
            read(tmp_path, safetensors(header, bytes(count)))
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_a_header_longer_than_the_file_or_than_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cut short"):
        read(tmp_path, (10_000).to_bytes(8, "little") + b'{"w": 1}')
    with pytest.raises(ModelError, match="header of 1,073,741,824 bytes"):
        read(tmp_path, (2**30).to_bytes(8, "little") + b'{"w": 1}')
