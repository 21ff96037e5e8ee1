"""The cache gives back what was put or nothing, whatever happens to its file."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.evaluation import cache as module
from app.evaluation.cache import COMMIT_ROWS, Cache, open_cache
from app.evaluation.photos import EvaluationError

ROOT = Path(__file__).resolve().parents[3]
PHOTO, KEY = b"p" * 32, b"k" * 32


def rows_on_disk(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])


def test_what_is_put_comes_back_also_later(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "cache.sqlite"
    with open_cache(path) as cache:
        assert cache.get(PHOTO, KEY) is None
        cache.put(PHOTO, KEY, b"first")
        assert cache.get(PHOTO, KEY) == b"first"
        cache.flush()
        cache.put(PHOTO, KEY, b"second")
        assert cache.get(PHOTO, KEY) == b"second"
        assert (cache.get(PHOTO, b"other"), cache.get(b"other", KEY)) == (None, None)
    with open_cache(path) as cache:
        assert cache.get(PHOTO, KEY) == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["cache.sqlite"]


def test_no_file_keeps_for_its_own_life_alone() -> None:
    with open_cache(None) as cache:
        cache.put(PHOTO, KEY, b"value")
        cache.flush()
        assert cache.get(PHOTO, KEY) == b"value"
    with open_cache(None) as cache:
        assert cache.get(PHOTO, KEY) is None


def test_rows_are_on_disk_after_so_many_or_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.sqlite"
    with open_cache(path) as cache:
        monkeypatch.setattr(module, "COMMIT_S", 3600)
        for number in range(COMMIT_ROWS - 1):
            cache.put(PHOTO, bytes([number]), b"value")
        assert rows_on_disk(path) == 0
        cache.put(PHOTO, KEY, b"value")
        assert rows_on_disk(path) == COMMIT_ROWS
        monkeypatch.setattr(module, "COMMIT_S", 0)
        cache.put(PHOTO, b"late", b"value")
        assert rows_on_disk(path) == COMMIT_ROWS + 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE kept SET value = x'00'",
        "UPDATE kept SET value = 'text'",
        "UPDATE kept SET checksum = x''",
        "UPDATE kept SET key = x'02'",
    ],
)
def test_a_row_that_somebody_changed_counts_as_absent(tmp_path: Path, change: str) -> None:
    path = tmp_path / "cache.sqlite"
    with open_cache(path) as cache:
        cache.put(PHOTO, b"\1", b"value")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with open_cache(path) as cache:
        assert (cache.get(PHOTO, b"\1"), cache.get(PHOTO, b"\2")) == (None, None)
        cache.put(PHOTO, b"\1", b"again")
        cache.flush()
        assert cache.get(PHOTO, b"\1") == b"again"


def foreign(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_file_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Dear diary, " * 100)
    foreign(tmp_path / "table", "CREATE TABLE people (name)")
    foreign(tmp_path / "newer", f"PRAGMA application_id = {module._APPLICATION}", "PRAGMA user_version = 99")
    (tmp_path / "folder").mkdir()
    for path in sorted(tmp_path.iterdir()):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(EvaluationError, match=r"delete it|cannot be used"):
            Cache(path)
        assert not path.is_file() or path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "cache.sqlite"
    with open_cache(path) as cache:
        for number in range(40):
            cache.put(bytes([number]) * 32, KEY, bytes([number]) * 300)
    return path


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_never_gives_a_wrong_value(full: Path, data: st.DataObject) -> None:
    content = bytearray(full.read_bytes())
    if data.draw(st.booleans(), "cut short"):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    else:
        at, length = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 600))
        content[at : at + length] = data.draw(st.binary(min_size=1, max_size=1)) * len(content[at : at + length])
    with TemporaryDirectory() as folder, suppress(EvaluationError):
        (Path(folder) / "cache.sqlite").write_bytes(content)
        with open_cache(Path(folder) / "cache.sqlite") as cache:
            for number in range(40):
                value = cache.get(bytes([number]) * 32, KEY)
                assert value in (None, bytes([number]) * 300)
                if value is None:
                    cache.put(bytes([number]) * 32, KEY, bytes([number]) * 300)


CHILD = """
import sys
from pathlib import Path
import app.evaluation.cache as module
module.COMMIT_ROWS = 3
with module.open_cache(Path(sys.argv[1])) as cache:
    for number in range(300):
        photo = number.to_bytes(4, "big")
        assert cache.get(photo, b"both") in (None, photo * 50)
        cache.put(photo, b"both", photo * 50)
        cache.put(photo, sys.argv[2].encode(), photo * 50)
"""


def test_two_processes_may_use_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, path, name], cwd=ROOT, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for child in children:
        _, errors = child.communicate()
        assert (child.returncode, errors) == (0, b"")
    assert rows_on_disk(path) == 900


def test_a_file_that_another_process_holds_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.sqlite"
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    with open_cache(path) as cache, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache.put(PHOTO, KEY, b"value")
        with pytest.raises(EvaluationError, match=r"locked.* other process"):
            cache.flush()
        other.execute("ROLLBACK")


def test_a_copy_taken_while_it_is_written_is_whole(tmp_path: Path) -> None:
    """What a kill leaves: the file and its log as they are at that moment."""
    path = tmp_path / "cache.sqlite"
    with open_cache(path) as cache:
        cache.put(PHOTO, KEY, b"value")
        cache.flush()
        cache.put(PHOTO, b"not yet on disk", b"value")
        shutil.copytree(tmp_path, tmp_path / "copy")
    with open_cache(tmp_path / "copy" / "cache.sqlite") as cache:
        assert cache.get(PHOTO, KEY) == b"value"
        assert cache.get(PHOTO, b"not yet on disk") is None
