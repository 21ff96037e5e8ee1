"""`mounted.py FOLDER full|readonly`: a gallery on a file system of its own, of which there is no more, or which may not
be written. Run by `unshare`, whose mounts nobody else sees; says what happened, a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gallery.local.gallery import LocalGallery
from gallery.types import GalleryError
from tests.gallery.local.faults.world import DIMENSION, EMBEDDER, consistency, enrols, erases, observed


def outcome(ask: Callable[[], object]) -> str:
    """The error's class and message, "" if there was none."""
    try:
        ask()
    except GalleryError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def full(folder: Path) -> dict[str, object]:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(500_000))
    with LocalGallery(folder / "gallery") as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        enrolled = 0

        def enrol() -> None:
            enrols(f"person {enrolled}", enrolled, note="x").do(gallery)

        while not (refusal := outcome(enrol)):
            enrolled += 1
        found = observed(gallery)
        said = {"enrol": refusal, "enrolled": enrolled, "found": len(found), "wrong": consistency(gallery, found)}
        said["search while full"] = outcome(lambda: consistency(gallery, found))
        ballast.unlink()
        said["enrol with room"] = outcome(lambda: enrols("later", 4000, note="x").do(gallery))
        said["erase with room"] = outcome(lambda: erases("person 0").do(gallery))
    return said


def readonly(folder: Path) -> dict[str, object]:
    def prepare() -> None:
        with LocalGallery(folder / "gallery") as gallery:
            gallery.ensure_collection("people", EMBEDDER, DIMENSION)

    said: dict[str, object] = {"before": outcome(prepare)}
    for mode in ("ro", "rw"):
        subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)
        said[mode] = outcome(prepare)
        said[f"new, {mode}"] = outcome(lambda: LocalGallery(folder / "gallery" / "..").close())
    return said


if __name__ == "__main__":
    print(json.dumps({"full": full, "readonly": readonly}[sys.argv[2]](Path(sys.argv[1]))))
