"""`python -m app.bench.pinned CORE MODULE …`: binds itself to one core, then becomes `python -m MODULE …`.

The threads that libraries start when they are imported inherit the binding; bound later, they would not.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    core, *command = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    os.execv(sys.executable, [sys.executable, "-m", *command])
