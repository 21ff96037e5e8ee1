"""Members of archives: the one that is meant, its bytes and no others, nowhere but where they belong."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.base import ModelError
from engines.catalogue import UpstreamFile
from engines.downloads.archive import extract

NET = bytes(range(256)) * 20
MEMBER = UpstreamFile("net.onnx", hashlib.sha256(NET).hexdigest(), len(NET), ())


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def encrypted() -> bytes:
    """A zip that says of its member that it is encrypted."""
    data = bytearray(zipped(("net.onnx", NET)))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1
    return bytes(data)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "inner" / "unpacked"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["net.onnx", "pack/net.onnx", "../../net.onnx", "/etc/net.onnx"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_member_is_written_beside_nothing_else(tmp_path: Path, place: Path, name: str, compression: int) -> None:
    archive = tmp_path / "pack.zip"
    archive.write_bytes(zipped((name, NET), ("other.onnx", b"other"), ("../evil", b"evil"), compression=compression))
    assert extract(archive, MEMBER, place) == place / "net.onnx"
    assert (place / "net.onnx").read_bytes() == NET
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([archive, place / "net.onnx"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "cannot be unpacked"),
        (zipped(("net.onnx", NET))[:-30], "cannot be unpacked"),
        (encrypted(), "encrypted"),
        (zipped(("net.onnx", NET), compression=zipfile.ZIP_BZIP2), "packed in a way"),
        (zipped(("net.onnx", NET), compression=zipfile.ZIP_LZMA), "packed in a way"),
        (zipped(("other.onnx", NET)), "has 0 files called net.onnx"),
        (zipped(("a/net.onnx", NET), ("b/net.onnx", NET)), "has 2 files called net.onnx"),
        (zipped(("net.onnx", NET[:-1])), f"has {len(NET) - 1} bytes"),
        (zipped(("net.onnx", bytes(1000 * len(NET)))), "must have"),
        (zipped(("net.onnx", bytes(len(NET)))), "SHA-256"),
        (zipped(("net.onnx/", b"")), "expected one"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, place: Path, content: bytes, message: str) -> None:
    archive = tmp_path / "pack.zip"
    archive.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        extract(archive, MEMBER, place)


def test_a_member_that_holds_more_than_it_says_is_cut_off(tmp_path: Path, place: Path) -> None:
    """A bomb: the archive says the right size, its data unpack to a thousand times that."""
    data = bytearray(zipped(("net.onnx", bytes(1000 * len(NET)))))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = len(NET).to_bytes(4, "little")
    archive = tmp_path / "pack.zip"
    archive.write_bytes(data)
    with pytest.raises(ModelError):
        extract(archive, MEMBER, place)
    assert (place / "net.onnx").stat().st_size <= len(NET)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_refused_or_does_no_harm(tmp_path: Path, place: Path, data: st.DataObject) -> None:
    content = bytearray(zipped(("pack/net.onnx", NET), ("other", b"other")))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive = tmp_path / "pack.zip"
    archive.write_bytes(content)
    try:
        path = extract(archive, MEMBER, place)
    except ModelError:
        return
    assert path.read_bytes() == NET
