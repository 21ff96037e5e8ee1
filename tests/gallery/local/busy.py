"""`busy.py FOLDER`: searches and enrols until its standard input ends, then says what it saw, a line of JSON."""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

import numpy as np

from gallery.local.gallery import LocalGallery
from gallery.types import ModelMismatchError
from tests.gallery.local.crops import NEW, OLD, face, vector


def searched(gallery: LocalGallery, number: int, embedder: str) -> str | None:
    """Who `number` is by that embedder, None if the collection is not its."""
    try:
        query = vector(number, embedder)[np.newaxis]
        (matches,) = gallery.search("people", query, embedder=embedder, top_k=2, threshold=0.999)
    except ModelMismatchError:
        return None
    return " ".join(match.identity for match in matches)


def enrolled(gallery: LocalGallery, number: int) -> bool:
    try:
        gallery.enroll("people", f"person {number}", [face(number)], embedder=OLD)
    except ModelMismatchError:
        return False
    return True


def main(folder: Path) -> None:
    by, numbers, wrong = {OLD: 0, NEW: 0}, list[int](), list[str]()
    with LocalGallery(folder) as gallery:
        print(json.dumps("searching"), flush=True)
        step = 0
        while not select.select([sys.stdin], [], [], 0.001)[0]:
            step += 1
            number = numbers[-1] if numbers and step % 3 == 0 else step % 60
            # In this order: what the old embedder does not answer any more, the new one must.
            answers = {embedder: searched(gallery, number, embedder) for embedder in (OLD, NEW)}
            for embedder, answer in answers.items():
                by[embedder] += answer is not None
                if answer not in (None, f"person {number}"):
                    wrong.append(f"{number} by {embedder} is {answer}")
            if answers[OLD] is None and answers[NEW] is None:
                wrong.append(f"nobody answers for {number}")
            if by[NEW] and answers[NEW] is None:
                wrong.append("the old embedder is back")
            if step % 4 == 0 and enrolled(gallery, 1000 + step):
                numbers.append(1000 + step)
                if by[NEW]:
                    wrong.append(f"{numbers[-1]} was enrolled after the end")
        wrong += gallery.check()
    print(json.dumps({"by": by, "enrolled": numbers, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
