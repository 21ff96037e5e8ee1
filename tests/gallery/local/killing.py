"""`killing.py FOLDER`: a carrying-over killed (SIGKILL) before each of its statements in turn, then looked at.

Says a line of JSON for each: {"at": what was to be executed, "was": embedder found, "wrong": [...]}. The processes to
kill are forked from this one, which is quick; the statements are counted by SQLite's own trace of the writer.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from gallery.local.gallery import LocalGallery
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, face, target, vector

FACES = 6


def prepare(folder: Path) -> None:
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        for number in range(FACES):
            gallery.enroll("people", f"person {number}", [face(number)], embedder=OLD)


def killed(folder: Path, before: int, note: Path) -> bool:
    """Whether a process that carries `folder` over had so many statements at all that it could be killed."""
    if child := os.fork():
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    seen = 0

    def trace(statement: str) -> None:
        nonlocal seen
        seen += 1
        if seen == before:
            note.write_text(statement)
            os.kill(os.getpid(), signal.SIGKILL)

    gallery = LocalGallery(folder)
    gallery._store._writer.set_trace_callback(trace)
    gallery.reembed("people", target(), made_by=OLD)
    os._exit(0)


def wrong_with(folder: Path) -> tuple[str, list[str]]:
    """The embedder that the collection has after the crash, and what is lost, mislabelled or mixed, then and after the
    work is begun again."""
    with LocalGallery(folder) as gallery:
        was = gallery.collection("people").embedder
        wrong = look(gallery, was)
        if was == OLD:
            gallery.reembed("people", target(), made_by=OLD)
        wrong += look(gallery, NEW)
        with gallery._store.read() as connection:
            if left := connection.execute("SELECT count(*) FROM reembedded").fetchone()[0]:
                wrong.append(f"{left} rows are left over")
    return was, wrong


def look(gallery: LocalGallery, embedder: str) -> list[str]:
    wrong = gallery.check()
    for number in range(FACES):
        query = vector(number, embedder)[np.newaxis]
        (matches,) = gallery.search("people", query, embedder=embedder, top_k=2, threshold=0.999)
        if [match.identity for match in matches] != [f"person {number}"]:
            wrong.append(f"by {embedder}, {number} is {matches}")
    return wrong


def main(folder: Path) -> None:
    prepare(folder / "whole")
    for before in range(1, 1000):
        copy = folder / f"copy {before}"
        shutil.copytree(folder / "whole", copy)
        if not killed(copy, before, folder / "note"):
            return
        was, wrong = wrong_with(copy)
        print(json.dumps({"at": (folder / "note").read_text(), "was": was, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
