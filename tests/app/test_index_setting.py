"""FACESERVE_INDEX on its way from the setting to the index that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.build import open_service
from app.settings import Settings
from gallery.local.gallery import LocalGallery
from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.recipe import RecipeError


def test_the_service_says_how_it_searches_and_does_so(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, index="IVF1024,PQ32:nprobe=8", small_scale=False)
    with open_service(settings) as service:
        told = service.about.info()["search"]
        assert told == {"index": "IVF1024,PQ32:nprobe=8", "approximate": True, "exact_below_faces": 39_936}
        assert isinstance(service.gallery, LocalGallery)
        with service.gallery._projections.current("default") as view:
            assert isinstance(view.index.flat, ApproximateIndex)
            assert view.index.flat.proposals is None


def test_exact_is_said_too(tmp_path: Path) -> None:
    with open_service(Settings(data_dir=tmp_path, small_scale=False)) as service:
        assert service.about.info()["search"] == {"index": "exact", "approximate": False}


def test_parts_that_do_not_fit_the_embedder_are_no_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, index="IVF1024,PQ48", small_scale=False)
    with pytest.raises(RecipeError, match="256 numbers"), open_service(settings):
        pass
    assert not (tmp_path / "gallery").exists()
