"""The audit in the data folder, around a gallery."""

from __future__ import annotations

import sys

from app.audit.gallery import AuditedGallery
from app.audit.recorder import Recorder
from app.audit.subjects import open_subjects
from app.audit.trail import FOLDER, Trail
from app.settings import Settings
from gallery.gallery import Gallery


def audited(gallery: Gallery, settings: Settings) -> Gallery:
    """The gallery as the settings want it: itself where nothing is to be recorded. Closing what is returned closes it.

    Raises OSError, the gallery closed, where the audit cannot be begun.
    """
    if settings.audit == "off":
        return gallery
    try:
        if sys.platform == "win32":
            raise OSError("the audit needs flock, which this system lacks: set FACESERVE_AUDIT=off")
        recorder = Recorder(Trail(settings.data_dir / FOLDER), open_subjects(settings.data_dir), settings.audit)
    except BaseException:
        gallery.close()
        raise
    return AuditedGallery(gallery, recorder)
