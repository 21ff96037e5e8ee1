"""`faceserve eval identification`: the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.evaluation import flags

Gallery = Annotated[
    Path,
    typer.Option(
        exists=True, file_okay=False, metavar="DIR", show_default=False, help="Who is known: a sub-folder each."
    ),
]
Probes = Annotated[
    Path,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        show_default=False,
        help="Who is asked for: a sub-folder a person, called as in the gallery, or otherwise for strangers.",
    ),
]


def identification(
    gallery: Gallery,
    probes: Probes,
    attributes: flags.Csv = None,
    flip: flags.Flip = False,
    face: flags.Face = "central",
    min_score: flags.MinScore = None,
    detector: flags.Detector = None,
    embedder: flags.Embedder = None,
    replicates: flags.Replicates = 1000,
    out: flags.Out = Path("eval"),
    cache: flags.Cache = None,
    no_cache: flags.NoCache = False,
    data_dir: DataDir = None,
) -> None:
    """Who of a gallery is it, or a stranger? Rank-1 and rank-5, FNIR at FPIR, and what the service would answer.

    An identity is as similar as the best of its faces, as in the service. A probe of somebody in the gallery on which
    no face is found counts as a miss. The two folders must be different ones: a photo would only find itself.
    --attributes are those of the probes. Writes identification.md, identification.json and three pictures.
    """
    flags.require_extra()
    from app.evaluation.identification.evaluation import Asked, evaluate
    from app.evaluation.run import Method

    settings = settings_from(detector=detector, embedder=embedder, data_dir=data_dir)
    method = Method(face=face, min_score=min_score, flip=flip)
    kept = flags.cache_of(settings, cache, no_cache)
    evaluate(Asked(gallery, probes, method, settings, attributes, replicates, out, kept))
