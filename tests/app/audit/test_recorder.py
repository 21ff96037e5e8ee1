"""No answer without its line: what happens to deeds while the audit cannot be written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.audit.actor import Actor, acting, current
from app.audit.errors import AuditUnavailableError, UnrecordedError
from app.audit.gallery import AuditedGallery
from app.audit.recorder import Recorder
from app.audit.subjects import KEY_FILE, Subjects, open_subjects
from app.audit.trail import Trail
from app.audit.verify import verify
from app.errors import problem
from gallery.types import CollectionFullError, IdentityNotFoundError
from tests.app.audit.conftest import Records
from tests.app.audit.trails import lines_of
from tests.gallery.local.faults.world import EMBEDDER, face


@pytest.fixture
def away(trail: Trail, tmp_path: Path) -> Callable[[], None]:
    """Takes the audit's folder away, and brings it back when called again."""

    def turn() -> None:
        here, there = trail.folder, tmp_path / "away"
        if here.exists():
            here.rename(there)
        else:
            there.rename(here)

    return turn


def test_a_deed_whose_line_cannot_be_written_is_done_and_not_answered(
    gallery: AuditedGallery, away: Callable[[], None], records: Records
) -> None:
    away()
    with pytest.raises(UnrecordedError, match="may have been done"):
        gallery.enroll("people", "Alice", [face(1)], embedder=EMBEDDER)
    away()
    assert len(gallery.identity("people", "Alice").faces) == 1
    late, shown = records()
    assert (late["deed"], late["late"], late["faces"]) == ("enroll", True, 1)
    assert (shown["deed"], "late" in shown) == ("show", False)


def test_then_deeds_are_refused_before_they_are_done_until_it_can_be_written_again(
    gallery: AuditedGallery, away: Callable[[], None], trail: Trail
) -> None:
    away()
    with pytest.raises(UnrecordedError):
        gallery.enroll("people", "Alice", [face(1)], embedder=EMBEDDER)
    for _ in range(2):
        with pytest.raises(AuditUnavailableError, match="nothing was done"):
            gallery.enroll("people", "Bob", [face(2)], embedder=EMBEDDER)
        with pytest.raises(AuditUnavailableError):
            gallery.ready()
        with pytest.raises(AuditUnavailableError):
            next(gallery.export("people"))
    assert [each.name for each in gallery._gallery.identities("people").identities] == ["Alice"]
    away()
    gallery.ready()
    gallery.enroll("people", "Bob", [face(2)], embedder=EMBEDDER)
    assert [json.loads(line)["deed"] for line in lines_of(trail.folder)] == ["enroll", "enroll"]
    assert verify(trail.folder).whole


def test_a_gallery_that_has_not_failed_yet_is_not_ready_either(
    gallery: AuditedGallery, away: Callable[[], None]
) -> None:
    away()
    with pytest.raises(AuditUnavailableError):
        gallery.ready()
    away()
    gallery.ready()


def test_what_is_not_recorded_goes_on(
    gallery: AuditedGallery, trail: Trail, subjects: Subjects, away: Callable[[], None]
) -> None:
    coarse = AuditedGallery(gallery._gallery, Recorder(trail, subjects, "changes"))
    away()
    with pytest.raises(UnrecordedError):
        coarse.enroll("people", "Alice", [face(1)], embedder=EMBEDDER)
    assert coarse.identity("people", "Alice").name == "Alice"
    with pytest.raises(AuditUnavailableError):
        coarse.delete_identity("people", "Alice")


def test_what_fails_and_cannot_be_recorded_is_unrecorded(gallery: AuditedGallery, away: Callable[[], None]) -> None:
    away()
    with pytest.raises(UnrecordedError) as refusal:
        gallery.delete_identity("people", "nobody")
    assert isinstance(refusal.value.__cause__, IdentityNotFoundError)


def test_the_client_reads_a_code_of_its_own_and_no_path(tmp_path: Path) -> None:
    told = [
        problem(error, request_id="r", instance="/") for error in (UnrecordedError("a"), AuditUnavailableError("b"))
    ]
    assert [(each["status"], each["code"]) for each in told] == [(503, "audit_unwritten"), (503, "audit_unavailable")]


def test_lines_owed_at_the_end_are_written_or_told_of(
    recorder: Recorder, away: Callable[[], None], trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    away()
    with pytest.raises(UnrecordedError), recorder.deed("erase", "people", "Alice"):
        pass
    recorder.close()
    assert "1 lines of the audit are lost" in caplog.text
    assert "'deed': 'erase'" in caplog.text
    assert "Alice" not in caplog.text
    away()
    recorder.close()
    assert len(lines_of(trail.folder)) == 1


def test_a_deed_that_is_broken_off_has_its_line(recorder: Recorder, records: Records) -> None:
    with pytest.raises(KeyboardInterrupt), recorder.deed("import", "people"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), recorder.deed("import", "people"):
        raise ZeroDivisionError
    with pytest.raises(CollectionFullError), recorder.deed("import", "people"):
        raise CollectionFullError
    assert [line["outcome"] for line in records()] == ["interrupted", "internal", "collection_full"]


def test_the_line_says_who_at_what_time(recorder: Recorder, trail: Trail) -> None:
    with acting(Actor("door", "10.0.0.7", "r1", lambda: "POST /recognize")), recorder.deed("search", "people"):
        pass
    with recorder.deed("search", "people"):
        pass
    asked, ours = (json.loads(line) for line in lines_of(trail.folder))
    assert [asked[name] for name in ("who", "from", "request", "via")] == ["door", "10.0.0.7", "r1", "POST /recognize"]
    assert asked["at"].endswith("+00:00")
    assert ours["who"] == current().who
    assert ours["who"].partition(":")[0] in {"sdk", "cli"}
    assert [ours[name] for name in ("from", "request", "via")] == [None, None, None]


def test_a_digest_is_of_the_key_the_collection_and_the_composed_name() -> None:
    one, other = Subjects(bytes(32)), Subjects(bytes(31) + b"1")
    assert one.digest("people", "Zoë") == one.digest("people", "Zoe\u0308")
    digests = {
        one.digest("people", "Zoë"),
        one.digest("people", "Zoe"),
        one.digest("peopleZ", "oë"),
        other.digest("people", "Zoë"),
        one.digest("people", "\udcff"),
    }
    assert len(digests) == 5
    assert {len(each) for each in digests} == {32}
    assert one.fingerprint != other.fingerprint


def test_the_key_is_made_once_for_all_and_for_the_owner(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(open_subjects(tmp_path).fingerprint)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(OSError, match=r"has 5 bytes, expected 32: put the audit's key back"):
        open_subjects(tmp_path)
