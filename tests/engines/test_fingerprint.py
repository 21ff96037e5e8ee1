"""A graph's fingerprint: blind to what a file says of itself, and to nothing else; without `onnx`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines import graphs
from engines.base import ModelError
from engines.fingerprint import graph_sha256
from engines.models import SHIPPED

SHIPPED_FILES = sorted(SHIPPED.glob("*/*.onnx"))


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_the_hash_of_the_file_without_its_description(path: Path) -> None:
    model = onnx.load(path)
    assert model.metadata_props
    del model.metadata_props[:]
    assert graph_sha256(path) == hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def saved(model: ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def rename(model: ModelProto) -> None:
    model.graph.name += "x"


def change_a_weight(model: ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nextafter(values.flat[0], np.float32(np.inf))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def change_the_operator_set(model: ModelProto) -> None:
    model.opset_import[0].version += 1


@pytest.mark.parametrize("facts", [{}, {"family": "another"}, {"note": "x" * 100_000, "licence": "ü"}])
def test_a_new_description_keeps_it(tmp_path: Path, facts: dict[str, str]) -> None:
    model = graphs.load(SHIPPED_FILES[0])
    graphs.describe(model, facts)
    assert graph_sha256(saved(model, tmp_path / "a.onnx")) == graph_sha256(SHIPPED_FILES[0])


@pytest.mark.parametrize("change", [rename, change_a_weight, change_the_operator_set])
def test_a_change_of_the_graph_changes_it(tmp_path: Path, change: Callable[[ModelProto], None]) -> None:
    model = graphs.load(SHIPPED_FILES[0])
    change(model)
    assert graph_sha256(saved(model, tmp_path / "a.onnx")) != graph_sha256(SHIPPED_FILES[0])


def test_a_field_it_does_not_know_counts(tmp_path: Path) -> None:
    model = helper.make_model(helper.make_graph([], "g", [], []))
    plain = saved(model, tmp_path / "plain.onnx")
    for name, field in {
        "varint": b"\xf8\x07\x05",
        "fixed64": b"\xf9\x07" + bytes(8),
        "fixed32": b"\xfd\x07abcd",
    }.items():
        longer = tmp_path / f"{name}.onnx"
        longer.write_bytes(plain.read_bytes() + field)
        assert onnx.load(longer).graph.name == "g"
        assert graph_sha256(longer) != graph_sha256(plain)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is no model",
        b"\x08\x08" * 100,
        b"\xff" * 100,
        b"\x3a",
        b"\x3a\x05abc",
        b"\x3a\x00\x08",
        b"\x3a\x00\x0b",
        b"\x3a\x00\x0d\x00",
        SHIPPED_FILES[0].read_bytes()[:-1],
        SHIPPED_FILES[0].read_bytes()[: SHIPPED_FILES[0].stat().st_size // 2],
    ],
    ids=lambda content: f"{content[:6]!r}",
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        graph_sha256(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*gone\.onnx"):
        graph_sha256(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="cannot read"):
        graph_sha256(tmp_path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_hashed_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        assert len(graph_sha256(path)) == 64
    except ModelError as error:
        assert "any.onnx" in str(error)  # noqa: PT017  (either is an answer)


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from engines.plans import graph_sha256, PlanStore\n"
        f"graph_sha256(Path({str(SHIPPED_FILES[0])!r}))\n"
        "assert not {'onnx', 'google.protobuf', 'tensorrt', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
