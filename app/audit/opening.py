"""The audit in the data folder, around a gallery, or around what is done to its files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.audit.gallery import AuditedGallery
from app.audit.recorder import Deed, Recorder
from app.audit.subjects import KEY_FILE, open_subjects
from app.audit.trail import FOLDER, Trail
from app.settings import Settings
from gallery.gallery import Gallery

log = logging.getLogger("faceserve")


def audited(gallery: Gallery, settings: Settings) -> Gallery:
    """The gallery as the settings want it: itself where nothing is to be recorded. Closing what is returned closes it.

    Raises OSError, the gallery closed, where the audit cannot be begun.
    """
    if settings.audit == "off":
        return gallery
    try:
        recorder = _recorder(settings)
    except BaseException:
        gallery.close()
        raise
    return AuditedGallery(gallery, recorder)


@contextmanager
def audited_deed(what: str, settings: Settings) -> Iterator[Deed]:
    """A deed on the files of the whole gallery, done inside the block: a line `begun` before it and one after it, where
    the settings want any.

    Raises OSError where the audit cannot be begun, and what a recorder's `deed` raises.
    """
    if settings.audit == "off":
        yield Deed(what, None)
        return
    with closing(_recorder(settings)) as recorder:
        recorder.record(Deed(what, None), "begun")
        with recorder.deed(what, None) as deed:
            yield deed


def _recorder(settings: Settings) -> Recorder:
    if sys.platform == "win32":
        raise OSError("the audit needs flock, which this system lacks: set FACESERVE_AUDIT=off")
    folder = settings.data_dir / FOLDER
    # Asked in this order, for of processes that start together another may be making both, the key last.
    if (settings.data_dir / KEY_FILE).exists() and not folder.exists():
        log.error("the audit in %s is gone and begins anew with number 1: put it back, unless it was to go", folder)
    return Recorder(Trail(folder), open_subjects(settings.data_dir), settings.audit)
