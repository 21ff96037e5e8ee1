"""`killed.py FROM TO N`: a migration of `people` killed (SIGKILL) when the record of that number has been read."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app.migration import migrate
from gallery.local.gallery import LocalGallery


def main(source: Path, target: Path, last: int) -> None:
    def on_progress(doing: str, done: int, of: int) -> None:
        if (doing, done) == ("copying", last):
            os.kill(os.getpid(), signal.SIGKILL)

    with LocalGallery(source) as one, LocalGallery(target) as other:
        migrate(one, other, "people", on_progress=on_progress)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
