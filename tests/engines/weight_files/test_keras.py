"""Keras' HDF5 files: numbers that lie in the file, and nothing that leads elsewhere."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import weight_files
from engines.base import ModelError, RuntimeMissingError
from engines.weight_files import WeightFile
from tests.engines.weight_files.writing import keras

ARRAYS: dict[str, NDArray[Any]] = {
    "conv1/conv1/bias:0": np.arange(4, dtype=">f4"),
    "conv1/conv1/kernel:0": np.arange(36, dtype=np.float32).reshape(3, 3, 1, 4),
    "norm/half": np.arange(3, dtype=np.float16),
    "norm/seen": np.array(5),
    "norm/seed": np.arange(2, dtype=np.uint32),
    "norm/wide": np.arange(2, dtype=np.float64),
}


def read(path: Path) -> WeightFile:
    weights = weight_files.read(path)
    assert weights is not None
    assert weights.kind == "keras"
    return weights


@pytest.mark.parametrize("whole", [False, True])
def test_arrays_have_their_paths(whole: bool, tmp_path: Path) -> None:
    keras(tmp_path / "weights", ARRAYS, whole=whole)
    found = read(tmp_path / "weights").arrays
    assert sorted(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")


def test_an_array_may_be_called_as_the_group_of_a_whole_model_is(tmp_path: Path) -> None:
    keras(tmp_path / "weights", {"model_weights": np.arange(3.0)})
    np.testing.assert_array_equal(read(tmp_path / "weights").arrays["model_weights"], np.arange(3.0))


@pytest.mark.parametrize("name", ["mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"])
def test_public_files_are_read_as_h5py_reads_them(name: str, shared: Path) -> None:
    path = shared / "models" / "upstream" / f"{name}.h5"
    found = read(path).arrays
    seen = []

    def compare(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            np.testing.assert_array_equal(found[name], entry[...])
            seen.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(compare)
    assert len(seen) == len(found) > 10


def _external_link(file: h5py.File, path: Path) -> None:
    keras(path.with_name("other"), ARRAYS)
    file["w"] = h5py.ExternalLink("other", "conv1/conv1/kernel:0")


def _soft_link(file: h5py.File, path: Path) -> None:
    file["v"] = np.ones(3)
    file["w"] = h5py.SoftLink("/v")


def _external_storage(file: h5py.File, path: Path) -> None:
    path.with_name("secret").write_bytes(bytes(24))
    file.create_dataset("w", (3,), "f8", external=[(str(path.with_name("secret")), 0, 24)])


def _virtual(file: h5py.File, path: Path) -> None:
    keras(path.with_name("other"), ARRAYS)
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other")), "conv1/conv1/bias:0", (4,))
    file.create_virtual_dataset("w", layout)


def _circle(file: h5py.File, path: Path) -> None:
    file.create_group("a/b")
    file["a/b/a"] = file["a"]


def _twin(file: h5py.File, path: Path) -> None:
    file["v"] = np.ones(3)
    file["w"] = file["v"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_external_link, "link 'w'"),
        (_soft_link, "link 'w'"),
        (_external_storage, "in another file"),
        (_virtual, "in another file"),
        (_circle, "round in a circle"),
        (_twin, "round in a circle"),
        (lambda file, _: file.create_group("/".join("g" * 40)).create_dataset("w", data=1.0), "round in a circle"),
        (lambda file, _: file.create_dataset("w", data=np.ones(1000), compression="gzip"), "compressed"),
        (lambda file, _: file.create_dataset("w", data=np.ones(1000), chunks=(10,)), "in chunks"),
        (lambda file, _: file.create_dataset("w", (2**28,), "f8"), "compressed, in chunks"),
        (lambda file, _: file.create_dataset("w", data="text"), "of object"),
        (lambda file, _: file.create_dataset("w", data=np.array([b"text"])), "of [|]S4"),
        (lambda file, _: file.create_dataset("w", data=h5py.Empty("f4")), "of float32"),
        (lambda file, _: file.create_dataset("w", data=np.ones(2, complex)), "of complex128"),
        (lambda file, _: file.create_group("w"), "no arrays"),
    ],
)
def test_what_does_not_lie_in_the_file_plainly_is_refused(
    write: Callable[[h5py.File, Path], object], message: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "weights", "w") as file:
        write(file, tmp_path / "weights")
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message):
            read(tmp_path / "weights")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    keras(tmp_path / "weights", ARRAYS)
    content = (tmp_path / "weights").read_bytes()
    for length in range(64, len(content), 97):
        (tmp_path / "weights").write_bytes(content[:length])
        with pytest.raises(ModelError, match="damaged"):
            read(tmp_path / "weights")


def test_without_h5py_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keras(tmp_path / "weights", ARRAYS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        read(tmp_path / "weights")
