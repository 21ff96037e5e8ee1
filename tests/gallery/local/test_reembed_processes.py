"""A carrying-over amid other processes that search and enrol, and one that is killed at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, embedded, face, target

ROOT = Path(__file__).resolve().parents[3]
FACES = 60


def run(program: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name(program)), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_killed_before_any_of_its_statements_nothing_is_lost_or_mixed(folder: Path) -> None:
    out, _ = run("killing.py", folder).communicate()
    deaths = [json.loads(line) for line in out.splitlines()]
    assert [death for death in deaths if death["wrong"]] == []
    killed_at = " ".join(death["at"] for death in deaths)
    for statement in ("INSERT OR REPLACE INTO reembedded", "UPDATE faces", "UPDATE collections SET embedder", "COMMIT"):
        assert statement in killed_at
    assert {death["was"] for death in deaths} == {OLD}  # the last statement to be killed before is the COMMIT
    assert len(deaths) > 20


def test_others_search_and_enrol_meanwhile(folder: Path) -> None:
    """The other process is answered by the old embedder's embeddings or by the new one's, never by both or neither;
    whom it has enrolled with the old one, the new one finds."""
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        for number in range(FACES):
            gallery.enroll("people", f"person {number}", [face(number)], embedder=OLD)
        with run("busy.py", folder) as other:
            assert other.stdin
            assert other.stdout
            assert json.loads(other.stdout.readline()) == "searching"

            def embed(pngs: Sequence[bytes]) -> NDArray[np.float32]:
                time.sleep(0.01)  # so that the other gets a word in
                return embedded(pngs)

            done = gallery.reembed("people", replace(target(), embed=embed), made_by=OLD)
            threading.Timer(0.2, other.stdin.close).start()
            said = json.loads(other.stdout.readline())
        assert said["wrong"] == []
        assert said["by"][OLD] > 5
        assert said["by"][NEW] > 5
        assert len(said["enrolled"]) > 0
        assert done.faces == FACES + len(said["enrolled"])
        for number in said["enrolled"]:
            assert gallery.similarity("people", f"person {number}", embedded_one(number), embedder=NEW)[0] > 0.999
        assert gallery.check() == []


def embedded_one(number: int) -> NDArray[np.float32]:
    crop = face(number).crop_png
    assert crop is not None
    row: NDArray[np.float32] = embedded([crop])[0]
    return row
