"""The demonstration: two people enrolled from sample photos, named in a group picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

from app.present import Json
from app.sdk import open_pipeline

SAMPLES = Path(__file__).parent / "samples"
PEOPLE = {"Eileen Collins": "astronaut.jpg", "Grace Hopper": "grace_hopper.jpg"}
GROUP = "group.jpg"


def run_demo(drawn: Path) -> Json:
    """The answer for the group picture; the picture with the names drawn in is written to `drawn`.

    The gallery lives in a temporary folder. Models and device are those of the environment's settings.
    """
    with tempfile.TemporaryDirectory(prefix="faceserve-demo-") as data_dir, open_pipeline(data_dir=data_dir) as faces:
        for identity, file in PEOPLE.items():
            faces.enroll((SAMPLES / file).read_bytes(), identity=identity)
        group = (SAMPLES / GROUP).read_bytes()
        drawn.parent.mkdir(parents=True, exist_ok=True)
        drawn.write_bytes(faces.annotate(group))
        return faces.recognize(group)
