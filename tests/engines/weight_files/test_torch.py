"""PyTorch's state dicts, in both formats, read bit for bit and without PyTorch."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import weight_files
from engines.base import ModelError
from engines.weight_files import WeightFile
from tests.engines.weight_files.writing import (
    TORCH,
    Parameter,
    StateDict,
    Storage,
    Tensor,
    archive,
    archive_of,
    pickled,
    stream,
    stream_of,
    tensor,
)

Write = Callable[..., bytes]
RANDOM = np.random.default_rng(0)
DTYPES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")
ARRAYS = {f"layer.{code}": RANDOM.integers(0, 2, (2, 3, 4)).astype(code) for code in DTYPES}
formats = pytest.mark.parametrize("write", [archive, stream])
SHARED = {
    # the SHA-256 of names, shapes and bytes, by torch.load of PyTorch 2.13
    "mtcnn_pnet.pt": "8123131debe7e37a582cc7dd2ba7e8b6d154e9965b40e34b6108edab4e4624ad",
    "mtcnn_rnet.pt": "9a23d2162f5f2b3d1411c5fa4bc2c4cc9bd8e98e3af062469575e79f3f846717",
    "mtcnn_onet.pt": "674a7adbbace292536259ddf5bc68521a0574ad9ef4ef5f0ec0d4ce0f1283730",
    "retinaface_mnet025_foamliu.pth": "6d1531b185ddf0e5a6ed1f280b6c7dc16ed0da93261326b01bce896b20f803d1",
}


def read(tmp_path: Path, content: bytes) -> WeightFile:
    path = tmp_path / "weights"
    path.write_bytes(content)
    weights = weight_files.read(path)
    assert weights is not None
    assert weights.kind == "torch"
    assert not weights.flat
    return weights


def digest(weights: WeightFile) -> str:
    lines = [(name, array.shape, array.dtype.str, array.tobytes().hex()) for name, array in weights.arrays.items()]
    return hashlib.sha256(repr(lines).encode()).hexdigest()


@formats
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_comes_back_as_it_was(write: Write, protocol: int, tmp_path: Path) -> None:
    state = StateDict({name: tensor(array) for name, array in ARRAYS.items()})
    arrays = read(tmp_path, write(state, protocol=protocol)).arrays
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert not arrays[name].flags.writeable
        assert arrays[name].flags.aligned


@formats
def test_bfloat16_becomes_float32(write: Write, tmp_path: Path) -> None:
    numbers = np.array([1, -2.5, np.inf, np.nan, 1e-30], np.float32)
    words = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    arrays = read(tmp_path, write({"w": Tensor(Storage(words, "BFloat16Storage"), [5])})).arrays
    np.testing.assert_array_equal(arrays["w"], (words.astype(np.uint32) << 16).view(np.float32))
    assert arrays["w"].dtype == np.float32


@formats
def test_tensors_may_be_parts_of_one_storage_in_any_layout(write: Write, tmp_path: Path) -> None:
    numbers = np.arange(60, dtype=np.float32)
    whole = Storage(numbers)
    state = {
        "rows": Tensor(whole, [4, 5], offset=10),
        "turned": Tensor(whole, [5, 3, 4], strides=[1, 20, 5]),
        "every second": Tensor(whole, [30], strides=[2]),
        "one": Tensor(whole, [], offset=59),
        "one in a row": Tensor(whole, [1, 60], strides=[7, 1]),
        "none": Tensor(whole, [0, 3], offset=60),
        "parameter": Parameter(Tensor(whole, [2, 2])),
    }
    arrays = read(tmp_path, write(state)).arrays
    np.testing.assert_array_equal(arrays["rows"], numbers[10:30].reshape(4, 5))
    np.testing.assert_array_equal(arrays["turned"], numbers.reshape(3, 4, 5).transpose(2, 0, 1))
    np.testing.assert_array_equal(arrays["every second"], numbers[::2])
    assert arrays["one"].shape == ()
    assert arrays["one"] == 59
    np.testing.assert_array_equal(arrays["one in a row"], numbers[None])
    assert arrays["none"].shape == (0, 3)
    np.testing.assert_array_equal(arrays["parameter"], [[0, 1], [2, 3]])
    assert np.shares_memory(arrays["rows"], arrays["turned"])


@pytest.mark.parametrize("order", ["little", "big", None])
def test_an_archive_says_its_byte_order(order: str | None, tmp_path: Path) -> None:
    state = {"w": tensor(np.arange(5, dtype=np.float32)), "n": tensor(np.arange(3))}
    arrays = read(tmp_path, archive(state, order=order)).arrays
    np.testing.assert_array_equal(arrays["w"], np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(arrays["n"], np.arange(3))


def test_a_stream_is_little_endian_wherever_it_was_written(tmp_path: Path) -> None:
    arrays = read(tmp_path, stream({"w": tensor(np.arange(5.0))}, little_endian=False)).arrays
    np.testing.assert_array_equal(arrays["w"], np.arange(5.0))


@formats
def test_values_are_as_they_were_even_nan(write: Write, tmp_path: Path) -> None:
    arrays = read(tmp_path, write({"w": tensor(np.full(3, np.nan))})).arrays
    assert np.isnan(arrays["w"]).all()


@formats
def test_the_state_dict_in_a_checkpoint_is_found(write: Write, tmp_path: Path) -> None:
    state = StateDict({"conv.weight": tensor(np.ones((2, 2), np.float32))})
    moments = {"state": {0: {"exp_avg": tensor(np.zeros(3))}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]}
    checkpoint = {"epoch": 3, "net": state, "optimizer": moments, "best": tensor(np.array(0.98)), "note": None}
    checkpoint |= {"metrics": {"loss": tensor(np.array(0.1)), "seen": tensor(np.array(9))}}
    assert list(read(tmp_path, write(checkpoint)).arrays) == ["conv.weight"]


def test_python_2_pickled_lists_of_pairs_and_plain_strings(tmp_path: Path) -> None:
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02NtQ"
    tensors = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x02\x85K\x01\x85tR"
    data = b"\x80\x02ccollections\nOrderedDict\n](](U\x01w" + tensors + b"ee\x85R."
    arrays = read(tmp_path, stream_of(data, {"0": Storage(np.array([1, 2], np.float32))})).arrays
    np.testing.assert_array_equal(arrays["w"], [1, 2])


def test_torch_size_is_a_tuple(tmp_path: Path) -> None:
    class Size:
        def __reduce__(self) -> tuple[Any, ...]:
            return TORCH["torch"]["Size"], ((3, 4),)

    assert list(read(tmp_path, archive({"w": tensor(np.ones(2)), "input": Size()})).arrays) == ["w"]


@formats
@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"a": {"w": tensor(np.ones(2))}, "b": {"w": tensor(np.ones(2))}}, r"2 state dicts \(a, b\)"),
        ({"w": tensor(np.ones(2)), "ema": {"w": tensor(np.ones(2))}}, "2 state dicts"),
        ({"epoch": 3}, r"no tensors: save the state dict alone: torch\.save\(model\.state_dict\(\)"),
        (OrderedDict(), "no tensors"),
        ([tensor(np.ones(2))], "is a list"),
        (tensor(np.ones(2)), "is a Tensor"),
        ({"w": tensor(np.ones(2)), ("a", "b"): 1}, "a key that is a tuple"),
        ({"w": Tensor(Storage(np.ones(4), "ComplexFloatStorage"), [2])}, "ComplexFloatStorage"),
        ({"w": Tensor(Storage(np.ones(4)), [2, 2], strides=[1, 1])}, "share memory"),
        ({"w": Tensor(Storage(np.ones(4)), [2**40], strides=[0])}, "share memory"),
        ({"w": Tensor(Storage(np.ones(4)), [3, 2], strides=[1, 2])}, "share memory"),
        ({"w": Tensor(Storage(np.ones(4)), [5])}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [2], offset=3)}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [2], offset=-1)}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [2], strides=[-1], offset=3)}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [-2])}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [2], strides=[2**64])}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [0, 2**62, 2**62], strides=[0, 0, 0])}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [1] * 9, strides=[1] * 9)}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4)), [2], strides=[1, 1])}, "is damaged"),
        ({"w": Tensor(Storage(np.ones(4), count=2**60), [2])}, "storage '0'"),
        ({"w": Tensor(Storage(np.ones(4), count=-4), [2])}, "storage '0'"),
        (dict.fromkeys("abcdefghi", Tensor(Storage(np.ones(1000)), [1000])), "the same bytes too often"),
    ],
)
def test_what_is_no_state_dict_is_refused(write: Write, checkpoint: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path, write(checkpoint))


@formats
def test_a_file_cut_short_anywhere_is_refused(write: Write, tmp_path: Path) -> None:
    content = write(StateDict({"w": tensor(np.arange(6.0)), "b": tensor(np.arange(3, dtype=np.float16))}))
    for length in range(64, len(content), 7):
        with pytest.raises(ModelError):
            read(tmp_path, content[:length])


def test_a_changed_number_fails_the_archives_checksum(tmp_path: Path) -> None:
    numbers = np.arange(50.0)
    content = archive({"w": tensor(numbers)})
    changed = content.replace(numbers.tobytes(), (numbers + 1).tobytes())
    assert changed != content
    with pytest.raises(ModelError, match="checksum"):
        read(tmp_path, changed)


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    """torch.serialization.set_crc32_options(False) writes zeros."""
    content = bytearray(archive({"w": tensor(np.ones(3))}))
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 16 : at + 20] = bytes(4)
        at = content.find(b"PK\x01\x02", at + 1)
    np.testing.assert_array_equal(read(tmp_path, bytes(content)).arrays["w"], np.ones(3))


def test_other_archives_are_refused(tmp_path: Path) -> None:
    data, storages = pickled({"w": tensor(np.ones(1000))})
    entries = {"data/0": storages["0"].numbers.tobytes()}
    assert read(tmp_path, archive_of(data, entries)).arrays["w"].shape == (1000,)
    with pytest.raises(ModelError, match="compressed"):
        read(tmp_path, archive_of(data, entries, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ModelError, match=r"TorchScript.*torch\.jit\.load"):
        read(tmp_path, archive_of(data, entries | {"constants.pkl": b""}))
    with pytest.raises(ModelError, match="expected one folder"):
        read(tmp_path, archive_of(data, entries | {"again/data.pkl": b""}))
    with pytest.raises(ModelError, match="byte order"):
        read(tmp_path, archive_of(data, entries | {"byteorder": b"middle"}))
    with pytest.raises(ModelError, match="storage '0' is missing"):
        read(tmp_path, archive_of(data))


def test_a_plain_pickle_and_an_unknown_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none that torch\.save writes"):
        read(tmp_path, pickle.dumps({"w": [1.0]}, 2))
    content = stream({"w": tensor(np.ones(2))})
    with pytest.raises(ModelError, match="version"):
        read(tmp_path, content.replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2), 1))


def test_a_stream_whose_storages_are_others_is_refused(tmp_path: Path) -> None:
    data, storages = pickled({"w": tensor(np.ones(4)), "b": tensor(np.ones(2))}, legacy=True)
    with pytest.raises(ModelError, match="other storages"):
        read(tmp_path, stream_of(data, {"0": storages["0"]}))
    with pytest.raises(ModelError, match="do not end"):
        read(tmp_path, stream_of(data, storages) + b"\0")


@pytest.mark.parametrize("name", SHARED)
def test_public_files_are_read_as_pytorch_reads_them(name: str, shared: Path) -> None:
    weights = weight_files.read(shared / "models" / "upstream" / name)
    assert weights is not None
    assert digest(weights) == SHARED[name]
