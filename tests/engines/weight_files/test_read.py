"""Which files are taken for weights, and that no damage does more than be refused."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import weight_files
from engines.base import ModelError
from engines.importing import read as read_network
from tests.engines.weight_files.writing import StateDict, archive, keras, safetensors, stream, tensor, wts

ARRAYS = {"conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "conv.bias": np.ones(3, np.float32)}
KINDS = {"archive": "torch", "stream": "torch", "safetensors": "safetensors", "keras": "keras", "wts": "wts"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    """The same arrays in every format."""
    state = StateDict({name: tensor(array) for name, array in ARRAYS.items()})
    keras(folder / "keras", ARRAYS)
    header = {
        "conv.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        "conv.bias": {"dtype": "F32", "shape": [3], "data_offsets": [48, 60]},
    }
    return {
        "archive": archive(state),
        "stream": stream(state),
        "safetensors": safetensors(header, b"".join(array.tobytes() for array in ARRAYS.values())),
        "keras": (folder / "keras").read_bytes(),
        "wts": wts(ARRAYS),
    }


@pytest.mark.parametrize("form", KINDS)
@pytest.mark.parametrize("suffix", ["", ".onnx", ".pt", ".h5"])
def test_the_content_decides_not_the_name(form: str, suffix: str, files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(files[form])
    weights = weight_files.read(path)
    assert weights is not None
    assert weights.path == path
    assert weights.kind == KINDS[form]
    assert sorted(weights.arrays) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(weights.arrays[name].reshape(array.shape), array)
        assert not weights.arrays[name].flags.writeable


@pytest.mark.parametrize("content", [b"", b"\x08\x08\x12\x07pytorch", b"a text", b"12\n", b"\x80", b"{}", bytes(100)])
def test_other_files_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    assert weight_files.read(tmp_path / "weights.pt") is None


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    assert weight_files.read(tmp_path) is None
    assert weight_files.read(tmp_path / "missing") is None


@pytest.mark.parametrize("form", KINDS)
def test_a_file_of_more_than_2_gib_is_refused_unread(form: str, files: dict[str, bytes], tmp_path: Path) -> None:
    with (tmp_path / "weights").open("wb") as file:
        file.write(files[form])
        file.truncate(2**31 + 1)
    with pytest.raises(ModelError, match="2 GiB"):
        weight_files.read(tmp_path / "weights")


@pytest.mark.parametrize("form", KINDS)
def test_importing_takes_them_for_weights(form: str, files: dict[str, bytes], tmp_path: Path) -> None:
    """Of no known architecture: the error is not that they are no ONNX."""
    (tmp_path / "weights").write_bytes(files[form])
    with pytest.raises(ModelError) as caught:
        read_network(tmp_path / "weights")
    assert "ONNX" not in str(caught.value)


def test_neither_torch_nor_pickle_is_needed(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(files["archive"])
    command = f"""
import sys
sys.modules["torch"] = sys.modules["safetensors"] = sys.modules["onnx"] = sys.modules["h5py"] = None
from pathlib import Path
from engines import weight_files
print(*weight_files.read(Path({str(tmp_path / "weights")!r})).arrays)
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(ARRAYS)


Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Some bytes changed, and perhaps the end cut off; places as parts of the file's length."""
    places = st.floats(0, 1, exclude_max=True)
    changes = draw(
        st.lists(st.tuples(places, st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)), max_size=8)
    )
    kept = draw(st.just(1.0) | places)

    def damage(content: bytes) -> bytes:
        damaged = bytearray(content)
        for place, value in changes:
            damaged[int(place * len(content))] = value
        return bytes(damaged[: int(kept * len(content)) if kept < 1 else len(content)])

    return damage


@pytest.mark.parametrize("form", KINDS)
@settings(max_examples=150, deadline=None)
@given(damage=damages())
def test_damage_is_refused_or_harmless(form: str, files: dict[str, bytes], folder: Path, damage: Damage) -> None:
    content = damage(files[form])
    (folder / "damaged").write_bytes(content)
    tracemalloc.start()
    try:
        weight_files.read(folder / "damaged")
    except ModelError as error:
        str(error).encode()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20 + 8 * len(content)


@given(content=st.binary(max_size=200), magic=st.sampled_from([b"PK\x03\x04", b"\x80\x02", b"\x89HDF\r\n\x1a\n", b""]))
def test_other_bytes_after_a_right_start_are_refused(content: bytes, magic: bytes, folder: Path) -> None:
    (folder / "noise").write_bytes(magic + content)
    try:
        assert weight_files.read(folder / "noise") is None
        assert not magic
    except ModelError:
        pass
