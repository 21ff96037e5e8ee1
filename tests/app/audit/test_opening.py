"""Opening the audit: off unless asked for, and no gallery is served that could not be recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.audit.errors import UnrecordedError
from app.audit.gallery import AuditedGallery
from app.audit.mark import MARK
from app.audit.opening import audited, audited_deed
from app.audit.subjects import KEY_FILE
from app.audit.trail import FOLDER
from app.errors import kind_of
from app.settings import Settings
from gallery.local.gallery import LocalGallery
from gallery.types import KeyRefusedError, StorageError
from tests.app.audit.trails import lines_of


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


def test_an_audit_that_is_gone_begins_anew_and_not_unsaid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a worker that is replaced would begin it."""
    settings = Settings(data_dir=tmp_path, audit="all")
    for _ in range(2):
        audited(LocalGallery(tmp_path / "gallery"), settings).close()
    assert caplog.text == ""
    (tmp_path / FOLDER).rmdir()
    audited(LocalGallery(tmp_path / "gallery"), settings).close()
    assert "is gone and begins anew" in caplog.text


def test_what_is_done_to_the_files_has_two_lines(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, audit="changes")
    with audited_deed("encrypt", settings) as deed:
        deed.facts["rows"] = 3
    with pytest.raises(KeyRefusedError), audited_deed("decrypt", settings):
        raise KeyRefusedError
    lines = [json.loads(line) for line in lines_of(tmp_path / FOLDER)]
    outcomes = [(line["deed"], line["outcome"], line.get("rows")) for line in lines]
    failed = kind_of(KeyRefusedError()).code
    assert outcomes == [
        *(("encrypt", "begun", None), ("encrypt", "ok", 3)),
        *(("decrypt", "begun", None), ("decrypt", failed, None)),
    ]


def test_what_could_not_be_recorded_is_not_done(tmp_path: Path) -> None:
    (tmp_path / FOLDER / MARK).mkdir(parents=True)
    done = False
    with pytest.raises(UnrecordedError), audited_deed("encrypt", Settings(data_dir=tmp_path, audit="changes")):
        done = True
    assert not done


def test_off_records_no_deed_on_files(tmp_path: Path) -> None:
    with audited_deed("encrypt", Settings(data_dir=tmp_path, audit="off")) as deed:
        deed.facts["rows"] = 3
    assert [*tmp_path.iterdir()] == []
