"""`faceserve eval detection`: the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.evaluation import flags

Images = Annotated[
    Path, typer.Option(exists=True, file_okay=False, metavar="DIR", show_default=False, help="Where the photos are.")
]
Annotations = Annotated[
    Path,
    typer.Option(
        exists=True,
        metavar="PATH",
        show_default=False,
        help="WIDER FACE's list (.txt), a folder of PASCAL VOC's XML, or COCO's .json.",
    ),
]
Only = Annotated[str, typer.Option(metavar="PATTERN", help="Only photos with such names, as 'street*'.")]
First = Annotated[
    int | None, typer.Option(min=1, show_default="all", help="Only the first ones, sorted by name as text.")
]
MinScore = Annotated[
    float, typer.Option(min=0, max=1, help="Least score of all: low, so that the curve goes on below what is served.")
]
Iou = Annotated[
    list[float] | None,
    typer.Option(min=0.01, max=1, show_default="0.4 and 0.5", help="Overlap that finds a face; may be repeated."),
]
Wider = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        show_default=False,
        help="The ground_truth folder of WIDER FACE's evaluation tools: adds its easy, medium and hard AP.",
    ),
]


def detection(
    images: Images,
    annotations: Annotations,
    only: Only = "*",
    first: First = None,
    iou: Iou = None,
    min_score: MinScore = 0.02,
    wider_ground_truth: Wider = None,
    attributes: flags.Csv = None,
    detector: flags.Detector = None,
    replicates: flags.Replicates = 1000,
    out: flags.Out = Path("eval"),
    cache: flags.Cache = None,
    no_cache: flags.NoCache = False,
    data_dir: DataDir = None,
) -> None:
    """How many faces are found, and what is taken for one? Average precision, recall by size, what is served.

    Every annotation counts as a face, whatever it is called, but those marked difficult, iscrowd or invalid: they are
    neither missed nor false. Faces are found as the service finds them, at all sizes of the detector (at the largest
    alone with FACESERVE_SMALL_SCALE=false). --attributes are those of the photos. Writes detection.md, detection.json
    and three pictures.
    """
    flags.require_extra()
    from app.evaluation.detection.evaluation import Asked, Data, evaluate

    settings = settings_from(detector=detector, data_dir=data_dir)
    data = Data(images, annotations, only, first, wider_ground_truth)
    ious = tuple(dict.fromkeys(iou or (0.4, 0.5)))
    kept = flags.cache_of(settings, cache, no_cache)
    evaluate(Asked(data, ious, min_score, settings, attributes, replicates, out, kept))
