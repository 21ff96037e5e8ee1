"""`faceserve eval verification`: the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import DataDir, settings_from
from app.evaluation import flags

Images = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, metavar="DIR", show_default=False, help="A sub-folder per person."),
]
Pairs = Annotated[
    Path | None,
    flags.named_file("Pairs as in LFW's pairs.txt, or a pack of aligned crops (.bin, without --images).", "generated"),
]
ChooseOn = Annotated[
    Path | None,
    flags.named_file(
        "Pairs on which the accuracy's threshold is chosen, as LFW's pairsDevTrain.txt.", "the other folds"
    ),
]
People = Annotated[
    Path | None,
    flags.named_file(
        "People as in LFW's people.txt: all pairs of different ones make the FAR table.", "those of the pairs"
    ),
]
CheckPeople = Annotated[
    Path | None,
    flags.named_file("Other people, in the same format, on whom the FARs that the table promises are checked."),
]
Save = Annotated[
    bool, typer.Option("--save", help="Store the thresholds with the embedder, so that the service uses them.")
]


def verification(
    images: Images = None,
    pairs: Pairs = None,
    choose_on: ChooseOn = None,
    people: People = None,
    check_people: CheckPeople = None,
    attributes: flags.Csv = None,
    flip: flags.Flip = False,
    face: flags.Face = "central",
    min_score: flags.MinScore = None,
    detector: flags.Detector = None,
    embedder: flags.Embedder = None,
    replicates: flags.Replicates = 1000,
    save: Save = False,
    out: flags.Out = Path("eval"),
    cache: flags.Cache = None,
    no_cache: flags.NoCache = False,
    data_dir: DataDir = None,
) -> None:
    """The same person or not? Accuracy, ROC, thresholds and their FARs with intervals, on pairs of photos.

    The pairs are generated from the folders of --images, or those of --pairs. Photos are found, cut out and embedded as
    the service does it. Writes verification.md, verification.json and four pictures; a run that was cut short goes on
    where it was.

    A detector finds faces at all its sizes (at the largest alone with FACESERVE_SMALL_SCALE=false). To evaluate another
    size, import it with that alone: `faceserve models import FILE --size 320x320 --name NAME`, then --detector NAME.
    """
    flags.require_extra()
    from app.evaluation.run import Method
    from app.evaluation.verification.evaluation import Asked, evaluate
    from app.evaluation.verification.sets import Files

    files = Files(images, pairs, choose_on, people, check_people)
    settings = settings_from(detector=detector, embedder=embedder, data_dir=data_dir)
    method = Method(face=face, min_score=min_score, flip=flip, aligned=files.packed)
    kept = flags.cache_of(settings, cache, no_cache)
    evaluate(Asked(files, method, settings, attributes, replicates, save, out, kept))
