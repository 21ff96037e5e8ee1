"""Which gallery the settings name, and what they may not ask of it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.cli.failures import explain
from app.galleries import gallery_at, open_gallery
from app.settings import Settings
from gallery.local.gallery import LocalGallery
from gallery.milvus.gallery import MilvusGallery
from gallery.types import NotOfferedError, StorageError

SECRET = "s3cr3t"
URL = f"milvus://me:{SECRET}@127.0.0.1:1"
KEY = secrets.token_hex(32)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FACESERVE_{name.upper()}", raising=False)


def test_it_is_in_the_data_folder_or_where_the_url_says(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'faceserve[milvus]'")
    with open_gallery(Settings(data_dir=tmp_path)) as gallery:
        assert isinstance(gallery, LocalGallery)
    with open_gallery(Settings(data_dir=tmp_path / "none", gallery=URL)) as gallery:
        assert isinstance(gallery, MilvusGallery)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gallery": f"mysql://me:{SECRET}@host"}, "FACESERVE_GALLERY: the gallery's URL is not understood"),
        ({"gallery": URL, "gallery_key": KEY}, "unset FACESERVE_INDEX and FACESERVE_GALLERY_KEY"),
        ({"gallery": URL, "index": "HNSW32"}, "unset FACESERVE_INDEX and FACESERVE_GALLERY_KEY"),
        ({"gallery": "milvus:///srv/faces.db", "workers": 2}, "set FACESERVE_WORKERS=1"),
    ],
)
def test_what_does_not_go_together_is_refused_without_the_password(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**settings)
    assert told in "\n".join(explain(refused.value))
    for text in ("\n".join(explain(refused.value)), str(refused.value), repr(refused.value)):
        assert SECRET not in text


def test_the_settings_do_not_show_the_password() -> None:
    assert SECRET not in f"{Settings(gallery=URL)!r}"


def test_a_place_that_is_no_address_or_cannot_be_encrypted_is_refused() -> None:
    with pytest.raises(StorageError, match="expected milvus://"):
        gallery_at("http://host", Settings())
    with pytest.raises(NotOfferedError, match="--plain"):
        gallery_at(URL, Settings(gallery_key=KEY))
