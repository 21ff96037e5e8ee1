"""The public networks of every family, compiled by TensorRT in float16, against ONNX Runtime in float32."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from app.batches import for_network
from app.comparison import feeds, parity
from engines.importing import import_model
from engines.load import load_engine
from engines.models import ModelStore
from engines.plans import Profile
from tests.engines.gpu import NEEDS_GPU, options, planned

MODELS = {
    "scrfd": ("scrfd_2.5g_bnkps.onnx",),
    "yunet": ("yunet_n_dynamic.onnx",),
    "mtcnn": ("mtcnn_pnet.pt", "mtcnn_rnet.pt", "mtcnn_onet.pt"),
    "arcface": ("mobilefacenet_foamliu.onnx",),
}
PROFILE = Profile(1, 2, 4)
"""Of whatever has no batch sizes of its own."""


@pytest.mark.parametrize("family", [pytest.param(family, marks=NEEDS_GPU) for family in MODELS])
def test_plans_answer_as_the_reference_does(family: str, shared: Path, samples: Path, tmp_path: Path) -> None:
    files = [shared / "models" / "upstream" / name for name in MODELS[family]]
    spec = import_model(files, into=ModelStore(tmp_path), family=family, name=family)
    photos = sorted(samples.glob("*.jpg"))
    for file in spec.files:
        loading = for_network(options("fp16", PROFILE), file.path)
        planned(file.path, "fp16", loading.profile)
        with ExitStack() as stack:
            reference = stack.enter_context(closing(load_engine(file.path)))
            engine = stack.enter_context(closing(load_engine(file.path, loading)))
            found = parity(reference, engine, feeds(spec, file, photos), spec.task)
        assert found["agrees"], found
