"""The canonical RetinaFace against its slow twin, and the upstream layouts it can be imported from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.base import ModelError
from engines.families.retinaface import priors
from engines.graphs import shape_of
from engines.importing import Expected, import_model
from engines.models import SHIPPED, ModelStore
from tests.engines.families.networks import noise

Array = NDArray[Any]
Write = Callable[..., Path]
Run = Callable[[Path, Array], dict[str, Array]]
Twin = Callable[[dict[int, Array], int, int], list[tuple[float, Array, Array]]]
Same = Callable[[dict[str, Array], int, list[tuple[float, Array, Array]]], None]
MEAN = np.array([104, 117, 123], np.float32)


def bare(run: Run, path: Path, images: Array, mean: Array = MEAN) -> list[dict[int, Array]]:
    """For each image the bare network's outputs by their last dimension, classes as logits, one image at a time."""
    results = []
    for image in images:
        planar = (image.astype(np.float32) - mean).transpose(2, 0, 1)[None]
        outputs = {array.shape[-1]: array[0] for array in run(path, np.ascontiguousarray(planar)).values()}
        if np.allclose(outputs[2].sum(axis=-1), 1, atol=1e-5):
            outputs[2] = np.log(np.maximum(outputs[2].astype(np.float64), 1e-300))
        results.append(outputs)
    return results


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**16),
    size=st.tuples(st.sampled_from([32, 64, 96, 160]), st.sampled_from([32, 64, 96])),
    softmax=st.booleans(),
    names=st.permutations([("boxes", 4), ("input.2", 2), ("scores", 10)]),
    rows=st.integers(1, 3),
)
def test_any_network_agrees_with_the_twin(
    tmp_path: Path, tiny_detector: Write, run: Run, decode_twin: Twin, assert_same_faces: Same,
    seed: int, size: tuple[int, int], softmax: bool, names: list[tuple[str, int]], rows: int,
) -> None:  # fmt: skip
    source = tiny_detector(tmp_path / "up.onnx", seed=seed, softmax=softmax, names=dict(names))
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path), sizes=[size], replace=True)
    images = noise(seed, rows, *size, 3)
    found = run(spec.files[0].path, images)
    for row, outputs in enumerate(bare(run, source, images)):
        assert_same_faces(found, row, decode_twin(outputs, *size))


@pytest.mark.parametrize(
    "export",
    [
        {"shape": (1, 3, 64, 96)},
        {"shape": ("n", 3, 64, 96)},
        {"shape": (1, 3, 64, 96), "opset": 9, "ir": 3},
        {"shape": (1, 3, 64, 96), "opset": 11, "softmax": False},
        {"shape": ("n", 3, "h", "w"), "opset": 17, "ir": 8},
    ],
)
def test_fixed_and_old_exports_take_batches(
    tmp_path: Path, tiny_detector: Write, run: Run, decode_twin: Twin, assert_same_faces: Same, export: dict[str, Any]
) -> None:
    source = tiny_detector(tmp_path / "up.onnx", **export)
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path), sizes=[(64, 96)])
    images = noise(1, 3, 64, 96, 3)
    found = run(spec.files[0].path, images)
    for row, outputs in enumerate(bare(run, source, images)):
        assert_same_faces(found, row, decode_twin(outputs, 64, 96))


def test_rgb_mean_and_scale_are_folded_exactly_borders_included(
    tmp_path: Path, tiny_detector: Write, run: Run, decode_twin: Twin, assert_same_faces: Same
) -> None:
    source = tiny_detector(tmp_path / "up.onnx")
    mean, std = (120.0, 110.0, 100.0), (0.5, 0.25, 2.0)
    spec = import_model(
        source,
        family="retinaface",
        into=ModelStore(tmp_path),
        sizes=[(64, 64)],
        expected=Expected(channels="rgb", mean=mean, std=std),
    )
    image = noise(2, 1, 64, 64, 3)
    planar = ((image[..., ::-1].astype(np.float32) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    outputs = {array.shape[-1]: array[0] for array in run(source, np.ascontiguousarray(planar)).values()}
    outputs[2] = np.log(outputs[2].astype(np.float64))
    found = run(spec.files[0].path, image)
    expected = decode_twin(outputs, 64, 64)
    scores = np.array([face[0] for face in expected])
    np.testing.assert_allclose(found["scores"][0], scores, atol=1e-5)
    best = found["boxes"][0][0]
    assert min(abs(best - face[1]).max() for face in expected if face[0] > scores[0] - 1e-5) < 2e-3
    operators = {node.op_type: node.input[0] for node in onnx.load(spec.files[0].path).graph.node[:3]}
    assert operators == {"Transpose": "images", "Cast": "input/planar", "Sub": "input/float"}


def test_a_row_does_not_depend_on_its_neighbours(run: Run) -> None:
    path = ModelStore(SHIPPED).get("retinaface_mnet025").files[-1].path
    images = noise(3, 5, 192, 192, 3)
    together = run(path, images)
    for row in range(5):
        alone = run(path, images[row : row + 1])
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][row], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("size", [(640, 640), (192, 192), (320, 480)])
def test_priors_are_counted_by_stride_row_column_side(size: tuple[int, int]) -> None:
    table = priors(size)
    assert len(table) == sum(2 * (size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    assert table[:3].tolist() == [[4, 4, 16], [4, 4, 32], [12, 4, 16]]
    assert table[-1].tolist() == [size[1] - 16, size[0] - 16, 512]


@pytest.mark.parametrize(
    ("size", "photo"),
    [((640, 640), "astronaut.jpg"), ((192, 192), "astronaut.jpg"), ((192, 192), "grace_hopper.jpg")],
)
def test_the_shipped_detector_agrees_with_the_twin_on_photos(
    shared: Path, samples: Path, on_canvas: Callable[[Path, int, int], Array], run: Run, decode_twin: Twin,
    assert_same_faces: Same, size: tuple[int, int], photo: str,
) -> None:  # fmt: skip
    image = on_canvas(samples / photo, *size)[None]
    files = {file.size: file.path for file in ModelStore(SHIPPED).get("retinaface_mnet025").files}
    (outputs,) = bare(run, shared / "models/default/retinaface_mnet025.onnx", image)
    found = run(files[size], image)
    assert found["scores"][0, 0] > 0.9
    assert_same_faces(found, 0, decode_twin(outputs, *size))


def test_a_fixed_export_with_upsample_is_imported_for_its_own_size_only(
    shared: Path, tmp_path: Path, samples: Path, on_canvas: Callable[[Path, int, int], Array], run: Run,
    decode_twin: Twin, assert_same_faces: Same,
) -> None:  # fmt: skip
    source = shared / "models/upstream/retinaface_mnet025_640.onnx"
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path))
    assert spec.sizes == ((640, 640),)
    image = on_canvas(samples / "astronaut.jpg", 640, 640)
    images = np.stack([np.zeros_like(image), image])
    found = run(spec.files[0].path, images)
    assert_same_faces(found, 1, decode_twin(bare(run, source, images[1:])[0], 640, 640))
    with pytest.raises(ModelError, match="export it with those free"):
        import_model(source, family="retinaface", into=ModelStore(tmp_path), name="other", sizes=[(192, 192)])


def test_the_graph_is_static_but_for_the_batch() -> None:
    for file in ModelStore(SHIPPED).get("retinaface_mnet025").files:
        model = onnx.shape_inference.infer_shapes(onnx.load(file.path), strict_mode=True, data_prop=True)
        assert not {"Shape", "Constant", "Softmax"} & {node.op_type for node in model.graph.node}
        for value in model.graph.value_info:
            batch, *rest = shape_of(value) or (None,)
            assert None not in rest, value.name
            assert batch is None or value.name.startswith("head/"), value.name
        assert (model.opset_import[0].version, model.ir_version) == (17, 8)


def split_by_stride(model: onnx.ModelProto) -> None:
    """Nine outputs instead of three, in no order, scores softmaxed each for itself."""
    del model.graph.output[:]
    for end in [node for node in model.graph.node if node.output[0] in ("loc", "conf", "landms")]:
        join = next(n for n in model.graph.node if end.input[0] in n.output) if end.op_type == "Softmax" else end
        for part in join.input:
            name = part
            if end.op_type == "Softmax":
                name = f"{part}_softmax"
                model.graph.node.add(op_type="Softmax", input=[part], output=[name], name=name).attribute.append(
                    helper.make_attribute("axis", 2)
                )
            model.graph.output.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, ["", "", ""]))
        model.graph.node.remove(end)
        if join is not end:
            model.graph.node.remove(join)


def drop_batch(model: onnx.ModelProto) -> None:
    """As `output[0]` or `squeeze(0)` at the end of an export for one image does."""
    for n, output in enumerate(model.graph.output):
        next(node for node in model.graph.node if output.name in node.output).output[0] = f"{output.name}_whole"
        index = numpy_helper.from_array(np.array(0 if n else [0], np.int64), f"{output.name}_first")
        model.graph.initializer.append(index)
        node = helper.make_node("Gather" if n else "Squeeze", [f"{output.name}_whole", index.name], [output.name])
        model.graph.node.append(node)
        del output.type.tensor_type.shape.dim[0]


@pytest.mark.parametrize("change", [split_by_stride, drop_batch])
@pytest.mark.parametrize("softmax", [True, False])
def test_outputs_by_stride_and_outputs_without_a_batch_axis_are_taken(
    tmp_path: Path, tiny_detector: Write, run: Run, decode_twin: Twin, assert_same_faces: Same,
    change: Callable[[onnx.ModelProto], None], softmax: bool,
) -> None:  # fmt: skip
    whole = tiny_detector(tmp_path / "up.onnx", softmax=softmax, shape=(1, 3, 64, 96))
    model = onnx.load(whole)
    change(model)
    onnx.save(model, tmp_path / "other.onnx")
    spec = import_model(tmp_path / "other.onnx", into=ModelStore(tmp_path))
    assert spec.family == "retinaface"
    images = noise(5, 3, 64, 96, 3)
    found = run(spec.files[0].path, images)
    for row, outputs in enumerate(bare(run, whole, images)):
        assert_same_faces(found, row, decode_twin(outputs, 64, 96))


@pytest.mark.parametrize("size", [(100, 128), (128, 100), (0, 64), (-32, 64), (16, 16)])
def test_sizes_off_the_grid_are_refused(tmp_path: Path, tiny_detector: Write, size: tuple[int, int]) -> None:
    source = tiny_detector(tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="multiples of 32"):
        import_model(source, family="retinaface", into=ModelStore(tmp_path / "store"), sizes=[(64, 64), size])
    assert not ModelStore(tmp_path / "store").list()


@pytest.mark.parametrize(
    "names", [{"loc": 4, "conf": 2}, {"loc": 4, "conf": 2, "landms": 8}, {"a": 4, "b": 2, "c": 10, "d": 10}]
)
def test_other_layouts_are_refused(tmp_path: Path, tiny_detector: Write, names: dict[str, int]) -> None:
    source = tiny_detector(tmp_path / "up.onnx", names=names)
    with pytest.raises(ModelError, match="RetinaFace has"):
        import_model(source, family="retinaface", into=ModelStore(tmp_path), sizes=[(64, 64)])


def test_sigmoid_scores_are_refused(tmp_path: Path, tiny_detector: Write) -> None:
    model = onnx.load(tiny_detector(tmp_path / "up.onnx"))
    next(node for node in model.graph.node if node.op_type == "Softmax").CopyFrom(
        helper.make_node("Sigmoid", [next(n.input[0] for n in model.graph.node if n.op_type == "Softmax")], ["conf"])
    )
    onnx.save(model, tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="no softmax"):
        import_model(tmp_path / "up.onnx", family="retinaface", into=ModelStore(tmp_path), sizes=[(64, 64)])


def test_the_input_must_be_a_float_image(tmp_path: Path, tiny_detector: Write) -> None:
    for wrong in ([1, 1, 64, 64], [1, 64, 64, 3], [1, 3, 64]):
        model = onnx.load(tiny_detector(tmp_path / "up.onnx"))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, wrong))
        onnx.save(model, tmp_path / "up.onnx")
        with pytest.raises(ModelError, match=r"expected one float32 \(N, 3, H, W\)"):
            import_model(tmp_path / "up.onnx", family="retinaface", into=ModelStore(tmp_path))
