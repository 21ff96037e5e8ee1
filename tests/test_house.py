"""House rules that a linter does not know."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("app", "engines", "gallery", "tests")
LINES_A_FILE = 300


def test_no_file_grows_too_long_to_read_at_one_sitting() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lines) > 50
    assert {path: count for path, count in lines.items() if count >= LINES_A_FILE} == {}


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## [{version('faceserve')}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
