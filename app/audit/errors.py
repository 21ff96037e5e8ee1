"""How the audit says no: as a gallery whose disk fails, for nothing is answered that is not recorded."""

from __future__ import annotations

from gallery.types import StorageError


class AuditError(StorageError):
    """The audit cannot be written."""


class UnrecordedError(AuditError):
    """What was asked may have been done, its line could not be written: the answer is withheld."""


class AuditUnavailableError(AuditError):
    """Refused before anything was done: an earlier line could not be written, and still cannot."""
