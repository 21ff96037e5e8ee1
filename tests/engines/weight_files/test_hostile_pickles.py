"""Pickles that would run code, or fill the memory: refused, with nothing run and little set aside."""

from __future__ import annotations

import copyreg
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import weight_files
from engines.base import ModelError
from tests.engines.weight_files.writing import Storage, Tensor, archive, archive_of, pickled, stream_of, tensor

Make = Callable[[str], bytes]
EXTENSION = 0x70
wrap = pytest.mark.parametrize("wrap", [archive_of, stream_of])


class Reduces:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def call(name: bytes, *arguments: bytes) -> bytes:
    return b"\x80\x02c" + name + b"\n(" + b"".join(arguments) + b"tR."


RUN: dict[str, Make] = {
    # what Python's own unpickler runs
    **{
        f"REDUCE, protocol {protocol}": lambda command, protocol=protocol: pickle.dumps(  # type: ignore[misc]
            {"w": Reduces(os.system, command)}, protocol
        )
        for protocol in range(6)
    },
    "eval": lambda command: call(b"builtins\neval", text(f"__import__('os').system({command!r})")),
    "exec": lambda command: call(b"builtins\nexec", text(f"import os; os.system({command!r})")),
    "getattr": lambda command: (
        b"\x80\x02cbuiltins\ngetattr\n(cos\nPathLike\n"
        + text("__class__")
        + b"tR0cos\nsystem\n"
        + text(command)
        + b"\x85R."
    ),
    "INST": lambda command: b"(S" + repr(command).encode() + b"\nios\nsystem\n.",
    "OBJ": lambda command: b"(csubprocess\ngetoutput\n" + text(command) + b"o.",
    "EXT1": lambda command: b"\x80\x02\x82" + bytes([EXTENSION]) + text(command) + b"\x85R.",
    "STACK_GLOBAL": lambda command: b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.",
    "a dotted name": lambda command: (
        b"\x80\x04" + text("collections") + text("_sys.modules.get") + b"\x93" + text("os") + b"\x85R0"
        b"\x8c\x02os\x8c\x06system\x93" + text(command) + b"\x85R."
    ),
    "BUILD": lambda command: (
        pickle.dumps({"w": [Reduces(os.system, command)]}, 2)[:-1] + b"}" + text("__dict__") + b"}sb."
    ),
}
REFUSED = {
    "numpy's reconstruct": pickle.dumps(np.ones(3), 2),
    "a NumPy scalar": pickle.dumps({"best": np.float64(0.9)}, 2),
    "NEWOBJ": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "STACK_GLOBAL of numbers": b"\x80\x04K\x01K\x02\x93.",
    "STACK_GLOBAL of a list": b"\x80\x04]]\x93.",
    "attributes of what is admitted": call(b"torch._utils\n_rebuild_tensor_v2.__globals__"),
    "another function beside what is admitted": call(b"torch._utils\n_rebuild_other"),
    "torch.load": call(b"torch\nload", text("other.pt")),
    "torch.hub.load": call(b"torch.hub\nload", text("owner/name")),
    "a call of a storage type": call(b"torch\nFloatStorage", b"K\x08"),
    "a call of a string": b"\x80\x02" + text("os.system") + b")R.",
    "a call with a list": b"\x80\x02ccollections\nOrderedDict\n]R.",
    "a state for a list": b"\x80\x02]}b.",
    "a state for a function": b"\x80\x02ccollections\nOrderedDict\n}b.",
    "pairs that are none": call(b"collections\nOrderedDict", b"](K\x01K\x02e"),
    "a size of nothing": call(b"torch\nSize"),
    "a parameter of a string": call(b"torch._utils\n_rebuild_parameter", text("x")),
    "a tensor without a storage": call(b"torch._utils\n_rebuild_tensor_v2", b"NK\x00))"),
    "PERSID": b"Pjunk\n.",
    "a persistent number": b"\x80\x02K\x05Q.",
    "a persistent list of lists": b"\x80\x02]](]]eaQ.",
    "a storage of a function": b"\x80\x02("
    + text("storage")
    + b"ccollections\nOrderedDict\n"
    + text("0") * 2
    + b"K\x01tQ.",
    "a storage with a number for a key": b"\x80\x02("
    + text("storage")
    + b"ctorch\nFloatStorage\nK\x00"
    + text("cpu")
    + b"K\x01tQ.",
    "a storage that is a part of another": b"\x80\x02("
    + text("storage")
    + b"ctorch\nFloatStorage\n"
    + text("0") * 2
    + b"K\x01("
    + text("1")
    + b"K\x00K\x01ttQ.",
    "a whole module": b"\x80\x02(" + text("module") + b"ccollections\nOrderedDict\n" + text("a.py") * 2 + b"tQ.",
    "an empty stack": b"\x80\x02s.",
    "no mark": b"\x80\x02e.",
    "a memo without the value": b"\x80\x02h\x09.",
    "a key without a value": b"\x80\x02}(K\x01u.",
    "nothing at all": b"",
    "a name without an end": b"\x80\x02c" + b"x" * 1000,
    "text that is none": b"\x80\x02X\x02\0\0\0\xff\xff.",
}
NESTED = 20_000
HUGE = {
    "a memo at the last index": b"\x80\x02}r\xff\xff\xff\xff.",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes of 2 GB": b"\x80\x03B\xff\xff\xff\x7f.",
    "bytes of an exabyte": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
    "a bytearray of an exabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
    "a frame of an exabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"}.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a deep key": b"\x80\x02})" + b"\x85" * NESTED + b"Ns.",
    "deep lists": b"\x80\x02" + b"]" * NESTED + b"a" * (NESTED - 1) + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dict in itself": b"\x80\x02}q\x00" + text("self") + b"h\x00s.",
    "marks": b"\x80\x02" + b"(" * NESTED + b".",
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that is only there once code has run."""
    return tmp_path / "canary"


@pytest.fixture(autouse=True)
def extension() -> Iterator[None]:
    copyreg.add_extension("os", "system", EXTENSION)
    yield
    copyreg.remove_extension("os", "system", EXTENSION)


def refused(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        weight_files.read(path)
    return str(caught.value)


@pytest.mark.parametrize("name", RUN)
def test_code_is_not_run(name: str, canary: Path, tmp_path: Path) -> None:
    data = RUN[name](f"touch {canary}")
    for wrapped in (archive_of(data), stream_of(data)):
        refused(tmp_path, wrapped)
        assert not canary.exists()
    try:
        pickle.loads(data)
    except AttributeError:
        assert name == "BUILD"  # which comes after the call
    assert canary.exists(), "this pickle runs nothing: the test shows nothing"


@wrap
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_state_dict_needs_is_refused(name: str, wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    refused(tmp_path, wrap(REFUSED[name]))


def test_the_refusal_names_the_code_and_says_what_to_do(tmp_path: Path) -> None:
    message = refused(tmp_path, archive_of(pickle.dumps(Reduces(os.system, "true"), 2)))
    assert "weights.pt has code in it ('posix.system')" in message or "'nt.system'" in message
    assert "save the state dict alone: torch.save(model.state_dict(), ...)" in message


@wrap
@pytest.mark.parametrize("name", HUGE)
def test_no_claim_fills_the_memory(name: str, wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    content = wrap(HUGE[name])
    tracemalloc.start()
    try:
        refused(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 100 * len(content)
    finally:
        tracemalloc.stop()


def test_a_pickle_has_an_end(tmp_path: Path) -> None:
    assert "steps" in refused(tmp_path, archive_of(b"\x80\x02" + b"N" * (2**20 + 1) + b"."))


def test_one_list_does_not_make_many_dicts(tmp_path: Path) -> None:
    """Memory would go with the square of the file's size."""
    pairs = b"](" + b"".join(b"J" + struct.pack("<i", i) + b"N\x86" for i in range(2000)) + b"e"
    dicts = b"ccollections\nOrderedDict\nq\x00" + pairs + b"\x85q\x010](" + b"h\x00h\x01R" * 2000 + b"e."
    content = archive_of(b"\x80\x02" + dicts.replace(b"q\x010", b"q\x01R"))
    tracemalloc.start()
    try:
        refused(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_storages_of_an_archive_may_not_overlap(tmp_path: Path) -> None:
    """A bomb without compression: the directory names the same bytes again and again."""
    numbers = np.ones(100_000, np.uint8)
    state = {str(i): Tensor(Storage(numbers), numbers.shape) for i in range(50)}
    data, storages = pickled(state)
    content = archive_of(data, {"data/0": numbers.tobytes()})
    start, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    entry = content.index(b"PK\x01\x02", start + 1)
    stop = content.index(b"PK\x01\x02", entry + 1)
    named = content[entry:stop]
    twins = [
        named[:28] + struct.pack("<H", len(f"model/data/{key}")) + named[30:46] + f"model/data/{key}".encode()
        for key in storages
    ]
    directory = content[start:entry] + b"".join(twins)
    tail = content[end : end + 12] + struct.pack("<2LH", len(directory), start, 0)
    tracemalloc.start()
    try:
        assert "overlap" in refused(tmp_path, content[:start] + directory + tail)
        assert tracemalloc.get_traced_memory()[1] < 10 * numbers.size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("field", ["packed and unpacked", "directory"])
def test_an_archive_that_claims_2_gb_is_refused(field: str, tmp_path: Path) -> None:
    content = bytearray(archive({"w": tensor(np.ones(4))}))
    huge = struct.pack("<L", 2**31 - 1)
    if field == "directory":
        end = content.rindex(b"PK\x05\x06")
        content[end + 12 : end + 16] = huge
    else:
        start = content.index(b"PK\x01\x02")
        content[start + 20 : start + 28] = huge * 2
    tracemalloc.start()
    try:
        refused(tmp_path, bytes(content))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_directory_larger_than_any_is_refused(tmp_path: Path) -> None:
    """Python's objects for its entries would take several times its size."""
    content = b"PK\x03\x04" + bytes(2**23) + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, 2**23 + 1, 0, 0)
    assert "directory of 8,388,609 bytes" in refused(tmp_path, content)


def test_a_state_dict_keeps_no_attributes(tmp_path: Path) -> None:
    data, storages = pickled({"w": tensor(np.ones(3))})
    path = tmp_path / "weights.pt"
    path.write_bytes(
        archive_of(data[:-1] + b"}" + text("__class__") + text("evil") + b"sb.", {"data/0": np.ones(3).tobytes()})
    )
    weights = weight_files.read(path)
    assert weights is not None
    assert type(weights.arrays) is dict
    assert list(weights.arrays) == ["w"]
    assert len(storages) == 1
