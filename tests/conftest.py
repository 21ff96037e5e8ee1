"""What every test may ask for: the sample photos, and a folder of more photos and models where there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

if sys.dont_write_bytecode and not sys.pycache_prefix:
    # Each of the processes that tests start would compile all it imports, which takes longer than the rest of its
    # start. What was compiled is kept out of the tree, as was asked for, with pytest's own notes.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(ROOT / ".pytest_cache" / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

settings.register_profile("patient", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("patient")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of astronaut.jpg, grace_hopper.jpg and group.jpg (both people); they ship with the package."""
    return ROOT / "app" / "samples"


@pytest.fixture(scope="session")
def astronaut(samples: Path) -> bytes:
    return (samples / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def hopper(samples: Path) -> bytes:
    return (samples / "grace_hopper.jpg").read_bytes()


@pytest.fixture(scope="session")
def group(samples: Path) -> bytes:
    return (samples / "group.jpg").read_bytes()


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder beside the checkout with photos/ and models/ that may not be published; set by FACESERVE_SHARED."""
    folder = Path(os.environ.get("FACESERVE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: set FACESERVE_SHARED to a folder with photos/ and models/")
    return folder
