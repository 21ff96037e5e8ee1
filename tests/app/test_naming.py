"""Where the line is drawn: by the client, by what was measured, or by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.embedders import Embedders
from app.errors import InvalidRequestError
from app.naming import Naming
from engines.models import SHIPPED, ModelStore
from engines.thresholds import Choice, FarRow, Thresholds, false_match_rate
from gallery.gallery import Gallery

STORE = ModelStore(SHIPPED)
EMBEDDER = STORE.get("mobilefacenet_256")
TABLE = Thresholds.measured([FarRow(0.1, 1e-2), FarRow(0.2, 5e-4), FarRow(0.4, 1e-4)], "a test")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path) as opened:
        opened.create_collection("empty", EMBEDDER.digest, 256)
        yield opened


def naming(gallery: Gallery, thresholds: Thresholds | None) -> Naming:
    return Naming(gallery, Embedders(STORE, replace(EMBEDDER, thresholds=thresholds)))


def test_what_was_measured_draws_the_line(gallery: Gallery) -> None:
    model = naming(gallery, TABLE)
    assert model.line_for_verify(None) == Choice(0.2, 5e-4, 5e-4, None)
    line, [found] = model.search("empty", np.eye(1, 256, dtype=np.float32), 1, None)
    assert (line, found) == (Choice(0.1, 1e-2, false_match_rate(1e-2, 1), None), [])


def test_a_far_that_nobody_measured_is_not_made_up(gallery: Gallery) -> None:
    model = naming(gallery, Thresholds(0.3, None, 0.4))
    assert model.line_for_verify(None) == Choice(0.3, None, None, None)
    assert model.search("empty", np.eye(1, 256, dtype=np.float32), 1, None)[0] == Choice(0.4, None, None, None)


@pytest.mark.parametrize("thresholds", [TABLE, None])
def test_the_clients_line_comes_first_and_promises_nothing(gallery: Gallery, thresholds: Thresholds | None) -> None:
    model = naming(gallery, thresholds)
    assert model.line_for_verify(0.7) == Choice(0.7, None, None, None)
    assert model.search("empty", np.eye(1, 256, dtype=np.float32), 1, 0.7)[0] == Choice(0.7, None, None, None)


def test_a_model_without_thresholds_says_how_to_get_some(gallery: Gallery) -> None:
    model = naming(gallery, None)
    said = "mobilefacenet_256 recommends no threshold: send `threshold`, .* `faceserve eval verification --save`"
    with pytest.raises(InvalidRequestError, match=said):
        model.line_for_verify(None)
    with pytest.raises(InvalidRequestError, match=said):
        model.search("empty", np.eye(1, 256, dtype=np.float32), 1, None)
