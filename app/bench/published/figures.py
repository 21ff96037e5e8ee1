"""What others have published of the same networks, by our rows; taken over as told, on whatever hardware that was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`batch` images of the row `network` at `images_per_s`. `of` is what was published, and what of ours stands
    beside it where that is not the very same."""

    network: str
    batch: int
    images_per_s: float
    of: str


FIGURES = (
    Figure("facenet@160x160", 1, 797, "FaceNet, batch 1"),
    Figure("facenet@160x160", 32, 5_583, "FaceNet, batch 32"),
    Figure(
        "mtcnn@1500x1500",
        8,
        289,
        "MTCNN's P-Net, 8 x 1500x1500; ours sees each picture's whole pyramid from 900x900 down, on a canvas of "
        "902x1996 px, and chooses the candidates",
    ),
    Figure("mtcnn@24x24", 1600, 8_368, "MTCNN's R-Net, batch 1600; what ran, and on what, was not told"),
    Figure("mtcnn@48x48", 800, 3_439, "MTCNN's O-Net, batch 800; what ran, and on what, was not told"),
    Figure("retinaface_r50@640x640", 1, 1e3 / 3, "RetinaFace 640x640, 3 ms an image; its backbone was not told"),
    Figure("retinaface_mnet025@960x1280", 1, 250, "RetinaFace 1280x960, 250 fps; its backbone was not told"),
    Figure("arcface_r50@112x112", 1, 1e3 / 9, "ArcFace-r50, 9 ms, AGX Xavier"),
    Figure("arcface_r50@112x112", 64, 1_928, "ArcFace-r50 (w600k), batch 64, InsightFace-REST on a GeForce GPU"),
)


def figure_for(network: str, batch: int) -> Figure | None:
    """What was published of that row, or None."""
    return next((each for each in FIGURES if (each.network, each.batch) == (network, batch)), None)
