"""The trail: several processes at once, killed writers, full disks, cut and missing files."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from app.audit.mark import MARK, locked
from app.audit.trail import Trail, files_of
from app.audit.verify import verify
from tests.app.audit.trails import lines_of, without_mark, written

PROCESSES, THREADS, LINES = 4, 2, 40
WRITER = """
import sys, threading
from pathlib import Path
from app.audit.trail import Trail

folder, who, count, file_bytes, sync = Path(sys.argv[1]), *map(int, sys.argv[2:])
trail = Trail(folder, file_bytes)

def write(thread):
    for number in range(count):
        trail.append([{"who": who, "thread": thread, "number": number, "text": "x" * (number % 7 * 100)}], sync=sync)
        print(number, flush=True)

threads = [threading.Thread(target=write, args=(each,)) for each in range(2)]
[each.start() for each in threads]
[each.join() for each in threads]
"""


def writer(folder: Path, who: int, count: int, *, file_bytes: int = 2**20) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(folder), str(who), str(count), str(file_bytes), "0"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)


@pytest.mark.parametrize("file_bytes", [2**20, 5_000])
def test_processes_and_threads_at_once_make_one_chain(tmp_path: Path, file_bytes: int) -> None:
    Trail(tmp_path)
    writers = [writer(tmp_path, who, LINES, file_bytes=file_bytes) for who in range(PROCESSES)]
    for each in writers:
        each.communicate(timeout=60)
        assert each.returncode == 0
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.notes, verdict.lines) == ([], [], PROCESSES * THREADS * LINES)
    records = [json.loads(line) for line in lines_of(tmp_path)]
    assert Counter((each["who"], each["thread"]) for each in records) == {
        (who, thread): LINES for who in range(PROCESSES) for thread in range(THREADS)
    }
    for who in range(PROCESSES):
        own = [each["number"] for each in records if (each["who"], each["thread"]) == (who, 0)]
        assert own == list(range(LINES))  # each writer's in its own order
    assert (len(files_of(tmp_path)) > 5) == (file_bytes == 5_000)


def test_writers_without_a_lock_would_break_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would say of a trail that does not lock: two threads read the same mark."""
    one, other = Trail(tmp_path), Trail(tmp_path)
    one.append([{"deed": "search"}], sync=False)
    mark = (tmp_path / MARK).read_bytes()
    one.append([{"deed": "search"}], sync=False)
    (tmp_path / MARK).write_bytes(mark)
    monkeypatch.setattr(Trail, "_resumed", lambda self, found: (found, False))
    other.append([{"deed": "search"}], sync=False)
    assert not verify(tmp_path).whole


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03])
def test_a_writer_killed_in_the_middle_loses_nothing_that_it_had_told(tmp_path: Path, delay_s: float) -> None:
    Trail(tmp_path)
    killed, other = writer(tmp_path, 0, 100_000), writer(tmp_path, 1, 30)
    assert killed.stdout is not None
    assert killed.stdout.read(1)
    time.sleep(delay_s)
    killed.kill()
    told = 1 + killed.communicate()[0].count(b"\n")
    other.communicate(timeout=60)
    written(tmp_path, 1)
    verdict = verify(tmp_path)
    assert verdict.breaks == []
    assert killed.returncode == -signal.SIGKILL
    kept = sum(json.loads(line).get("who") == 0 for line in lines_of(tmp_path))
    assert told - 1 <= kept <= told + THREADS
    assert verdict.lines == kept + 30 * THREADS + 1


def test_the_beginning_of_a_line_is_left_as_it_is_and_told(tmp_path: Path) -> None:
    trail = written(tmp_path, 2)
    with files_of(tmp_path)[0].open("ab") as file:
        file.write(b'{"n":3,"deed":"sea')
    trail.append([{"deed": "search"}], sync=True)
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.lines) == ([], 3)
    (note,) = verdict.notes
    assert note.startswith("000000000001.ndjson, line 3: no line of the audit")


def test_a_whole_line_that_the_mark_does_not_know_is_followed(tmp_path: Path) -> None:
    """Killed between the line and the mark."""
    trail = written(tmp_path, 2)
    mark = (tmp_path / MARK).read_bytes()
    written(tmp_path, 1, first=2)
    (tmp_path / MARK).write_bytes(mark)
    trail.append([{"deed": "search"}], sync=False)
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.lines) == ([], 4)


def test_a_new_file_that_the_mark_does_not_know_is_followed(tmp_path: Path) -> None:
    written(tmp_path, 2, file_bytes=1)
    mark = (tmp_path / MARK).read_bytes()
    written(tmp_path, 1, file_bytes=1)
    (tmp_path / MARK).write_bytes(mark)
    written(tmp_path, 2, file_bytes=1)
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.lines) == ([], 5)


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"nonsense\n", b"3 abc\n", b"3 abc 000000000001.ndjson -5\n", b"-3 abc 000000000001.ndjson 5\n"),
        *(b"3 abc mark 5\n", b"3 abc ../000000000001.ndjson 5\n"),
    ],
)
def test_a_lost_mark_is_made_anew_from_the_lines(tmp_path: Path, content: bytes | None) -> None:
    trail = written(tmp_path, 4, file_bytes=400)
    assert len(files_of(tmp_path)) > 1
    without_mark(tmp_path)
    if content is not None:
        (tmp_path / MARK).write_bytes(content)
    trail.append([{"deed": "search"}], sync=False)
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.notes, verdict.lines) == ([], [], 5)


def test_what_was_cut_off_shows_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trail = written(tmp_path, 5)
    (file,) = files_of(tmp_path)
    lines = lines_of(tmp_path)
    os.truncate(file, len(b"".join(lines[:3])) + 10)
    trail.append([{"deed": "search"}], sync=False)
    assert "was cut" in caplog.text
    assert verify(tmp_path).breaks == ["000000000001.ndjson, line 5: numbers 4 to 5 are missing"]


def test_a_file_that_was_moved_away_is_missed_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trail = written(tmp_path, 3)
    (file,) = files_of(tmp_path)
    file.rename(tmp_path / "rotated.1")
    trail.append([{"deed": "search"}], sync=False)
    assert "is gone" in caplog.text
    assert [each.name for each in files_of(tmp_path)] == ["000000000004.ndjson"]
    assert verify(tmp_path).notes == ["begins with number 4: older files were taken away"]
    (tmp_path / "rotated.1").rename(file)
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.notes, verdict.lines) == ([], [], 4)


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "audit"
    written(folder, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


FULL = """
import resource, sys
from pathlib import Path
from app.audit.trail import Trail

trail = Trail(Path(sys.argv[1]))
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
done = 0
try:
    while True:
        trail.append([{"deed": "search"}], sync=True)
        done += 1
except OSError as error:
    print(done, error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
trail.append([{"deed": "later"}], sync=True)
"""


def test_what_has_no_room_is_taken_back_and_the_chain_goes_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    count, _, reason = done.stdout.strip().partition(" ")
    assert reason in {"No space left on device", "File too large"}
    assert int(count) >= 3
    verdict = verify(tmp_path)
    assert (verdict.breaks, verdict.notes, verdict.lines) == ([], [], int(count) + 1)


def test_a_probe_says_whether_it_could_be_written(tmp_path: Path) -> None:
    trail = written(tmp_path / "audit", 1)
    trail.probe()
    (tmp_path / "audit").rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="No such file"):
        trail.probe()


def test_verification_waits_for_a_writer_s_end(tmp_path: Path) -> None:
    """Else it would read a line whose mark is still to come, or half a line."""
    written(tmp_path, 1)
    program = "import sys; from pathlib import Path; from app.audit.verify import verify; verify(Path(sys.argv[1]))"
    with locked(tmp_path):
        verifying = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        with pytest.raises(subprocess.TimeoutExpired):
            verifying.wait(1)
    assert verifying.wait(30) == 0


def test_a_first_file_that_was_emptied_shows_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As log rotation by copying and cutting leaves it."""
    trail = written(tmp_path, 3)
    os.truncate(files_of(tmp_path)[0], 0)
    trail.append([{"deed": "search"}], sync=False)
    assert "was cut" in caplog.text
    assert verify(tmp_path).breaks == ["000000000001.ndjson begins with number 4: numbers 1 to 3 are missing"]
