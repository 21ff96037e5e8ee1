"""Moments as clients write and read them; inside, they are seconds."""

from __future__ import annotations

import re
from datetime import datetime, timezone

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def moment_json(seconds: float | None) -> str | None:
    """Seconds since 1970-01-01T00:00Z as RFC 3339 in UTC, to the millisecond; None for None, which is never."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
