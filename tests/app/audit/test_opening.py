"""Opening the audit: off unless asked for, and no gallery is served that could not be recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.audit.gallery import AuditedGallery
from app.audit.opening import audited
from app.audit.subjects import KEY_FILE
from app.audit.trail import FOLDER
from app.settings import Settings
from gallery.local.gallery import LocalGallery
from gallery.types import StorageError


def test_off_is_the_gallery_itself(tmp_path: Path) -> None:
    with LocalGallery(tmp_path / "gallery") as bare:
        assert audited(bare, Settings(data_dir=tmp_path, audit="off")) is bare
    assert Settings().audit == "off"
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


def test_closing_it_closes_the_gallery(tmp_path: Path) -> None:
    bare = LocalGallery(tmp_path / "gallery")
    with audited(bare, Settings(data_dir=tmp_path, audit="all")) as gallery:
        assert isinstance(gallery, AuditedGallery)
        gallery.ready()
    with pytest.raises(StorageError):
        bare.ready()
    assert {path.name for path in tmp_path.iterdir()} == {"gallery", FOLDER, KEY_FILE}


def test_what_cannot_be_begun_is_an_error_and_the_gallery_is_closed(tmp_path: Path) -> None:
    (tmp_path / FOLDER).touch()
    bare = LocalGallery(tmp_path / "gallery")
    with pytest.raises(OSError, match=FOLDER):
        audited(bare, Settings(data_dir=tmp_path, audit="changes"))
    with pytest.raises(StorageError):
        bare.ready()
