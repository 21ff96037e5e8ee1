"""Hostile and broken files are refused plainly, and leave nothing behind."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from engines.base import ModelError
from engines.importing import import_model
from engines.models import ModelStore
from tests.engines.families import hostile

ROOM_BYTES = 400 * 2**20


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Room for less than the largest tensor that a network may have."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM_BYTES, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def source(tmp_path: Path, tiny_embedder: Callable[..., Path]) -> Path:
    return tiny_embedder(tmp_path / "tiny.onnx", dimension=4)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def refuse(path: Path, store: ModelStore, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_model(path, family="arcface", into=store, name="hostile")
    assert not store.folders[-1].exists() or not any(store.folders[-1].iterdir())


def test_external_data_are_refused(source: Path, store: ModelStore) -> None:
    model = onnx.load(source)
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    source.write_bytes(model.SerializeToString())
    refuse(source, store, "weights in other files")


def test_external_data_of_a_constant_node_are_refused(source: Path, store: ModelStore) -> None:
    model = onnx.load(source)
    node = helper.make_node("Constant", [], ["w0"], value=model.graph.initializer[0])
    node.attribute[0].t.ClearField("raw_data")
    node.attribute[0].t.data_location = TensorProto.EXTERNAL
    node.attribute[0].t.external_data.add(key="location", value="/etc/passwd")
    del model.graph.initializer[:]
    model.graph.node.insert(0, node)
    source.write_bytes(model.SerializeToString())
    refuse(source, store, "weights in other files")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x89PNG\r\n\x1a\n" + bytes(64), bytes(1000), b"PK\x03\x04"])
def test_what_is_not_onnx_is_refused(tmp_path: Path, store: ModelStore, data: bytes) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(data)
    refuse(path, store, "not an ONNX file|cut short")


def test_what_is_not_a_file_is_refused(tmp_path: Path, store: ModelStore) -> None:
    refuse(tmp_path / "nothing.onnx", store, "is not a file")
    refuse(tmp_path, store, "is not a file")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(source: Path, store: ModelStore, share: float) -> None:
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    refuse(source, store, "cut short|no network|not valid")


def test_weights_that_do_not_fill_their_shape_are_refused(source: Path, store: ModelStore) -> None:
    model = onnx.load(source)
    model.graph.initializer[0].dims[0] = 2**40
    source.write_bytes(model.SerializeToString())
    refuse(source, store, "not valid ONNX|damaged|does not work")


def test_custom_operators_and_control_flow_are_refused(source: Path, store: ModelStore) -> None:
    model = onnx.load(source)
    model.graph.node[0].domain = "com.example"
    model.opset_import.add(domain="com.example", version=1)
    source.write_bytes(model.SerializeToString())
    refuse(source, store, "outside the ONNX standard")
    model.graph.node[0].domain = ""
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node.add(op_type="If", input=["c"], output=["o"]).attribute.extend(
        helper.make_attribute(name, branch) for name in ("then_branch", "else_branch")
    )
    source.write_bytes(model.SerializeToString())
    refuse(source, store, "control flow")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("change", hostile.CHANGES, ids=lambda change: change.__name__)
def test_what_means_harm_is_refused_in_few_words_and_little_memory(
    source: Path, store: ModelStore, change: hostile.Change
) -> None:
    model = onnx.load(source)
    change(model)
    source.write_bytes(model.SerializeToString())
    before = sorted(source.parent.iterdir())
    for family in ("arcface", None):
        with pytest.raises(ModelError) as refused:
            import_model(source, family=family, into=store, name="hostile")
        assert len(str(refused.value)) < 1500
    assert [path for path in sorted(source.parent.iterdir()) if path != store.folders[-1]] == before
    assert not store.folders[-1].exists() or not any(store.folders[-1].iterdir())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_imported_or_refused_never_worse(
    source: Path, store: ModelStore, data: st.DataObject
) -> None:
    damaged = bytearray(source.read_bytes())
    descriptive = [n for n in range(len(damaged)) if n < 600 or n > len(damaged) - 200]
    for at in data.draw(st.lists(st.sampled_from(descriptive), max_size=6)):
        damaged[at] = data.draw(st.integers(0, 255))
    path = source.with_name("damaged.onnx")
    path.write_bytes(damaged)
    try:
        import_model(path, family="arcface", into=store, replace=True)
    except ModelError:
        return
    store.verify("damaged")
