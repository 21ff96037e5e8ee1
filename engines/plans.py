"""Plans, the networks that TensorRT compiled for one GPU: the folder that keeps them, and what it says of each.

A plan is two files. `<name>.json` describes it and says which bytes are its own; `<name>.<checksum>.plan` holds them.
The description is written last, so that at any moment it names a whole plan: the new one, or still the one before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engines.base import PlanError
from engines.file_lock import file_lock, is_locked
from engines.fingerprint import graph_sha256
from engines.plan_key import PLAN_FORMAT, Machine, PlanKey, Precision, Profile
from engines.plan_refusal import build_command, why_not

__all__ = ["Machine", "Plan", "PlanKey", "PlanStore", "Precision", "Profile", "graph_sha256", "label_of"]

DESCRIPTION, DATA, TIMING_CACHE, LOCK, PART = ".json", ".plan", ".cache", ".lock", ".part"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on disk. `label` names the network for people; `built` is when, in UTC.

    `facts` is what its builder knew of it: `build_seconds`, `layers`, `parity` and more.
    """

    path: Path
    key: PlanKey
    label: str
    sha256: str
    size_bytes: int
    built: str
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What its files are called, without an ending."""
        return self.key.name


def label_of(graph: Path) -> str:
    """What people call a network of the model store, `<model> <H>x<W>`, from where its file lies."""
    return f"{graph.parent.name} {graph.stem}"


class PlanStore:
    """The plans in `folder`, which is made when the first is built. Any thread or process may use it at any time.

    Reading writes nothing. Methods that write raise OSError where the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: PlanKey, label: str) -> Plan:
        """The plan for `key`; PlanError says what there is of this network instead, and the command that builds it."""
        path = self.folder / (key.name + DESCRIPTION)
        if not path.exists():
            raise PlanError(why_not(key, label, [(plan.label, plan.key) for plan in self.list()], self.folder))
        try:
            return _read(path)
        except PlanError as error:
            raise PlanError(f"{error}: build it anew with `{build_command(label, key)}`") from error

    def read(self, plan: Plan) -> bytes:
        """The plan's bytes; PlanError when they are not those that were written."""
        remedy = f"build it anew with `{build_command(plan.label, plan.key)}`"
        try:
            data = plan.path.read_bytes()
        except OSError as error:
            raise PlanError(f"cannot read the plan {plan.path} ({error.strerror}): {remedy}") from error
        if hashlib.sha256(data).hexdigest() != plan.sha256:
            raise PlanError(f"the plan {plan.path} is damaged, its checksum differs: {remedy}")
        return data

    def verify(self, plan: Plan) -> None:
        """Raises PlanError unless the plan's bytes are those that were written."""
        self.read(plan)

    def add(self, key: PlanKey, label: str, data: bytes, facts: Mapping[str, Any]) -> Plan:
        """Keeps a plan, in place of an earlier one for that key. `facts` must be fit for JSON.

        To be called within `building(key)`. Whatever ends the process meanwhile, no part of a plan counts as one.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        built = datetime.now(timezone.utc).isoformat(timespec="seconds")
        plan = Plan(_data_path(self.folder, key, sha256), key, label, sha256, len(data), built, dict(facts))
        earlier = [path for path in self.folder.glob(f"{key.name}.*{DATA}") if path != plan.path]
        self._write(plan.path, data)
        self._describe(plan)
        for path in earlier:
            path.unlink(missing_ok=True)
        return plan

    def note(self, plan: Plan, facts: Mapping[str, Any]) -> Plan:
        """The same plan with `facts` over those known; to be called within `building(plan.key)`."""
        noted = dataclasses.replace(plan, facts={**plan.facts, **facts})
        self._describe(noted)
        return noted

    def building(self, key: PlanKey) -> AbstractContextManager[bool]:
        """A block in which only one thread of one process is at a time; whoever comes second finds the plan made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return file_lock(self.folder / (key.name + LOCK))

    def is_building(self, key: PlanKey) -> bool:
        """Whether somebody is in that block now. Writes nothing."""
        return is_locked(self.folder / (key.name + LOCK))

    def timing_cache(self, key: PlanKey) -> bytes:
        """What TensorRT learned in earlier builds on this kind of GPU, or nothing yet."""
        try:
            return (self.folder / (key.machine.timing_cache_name + TIMING_CACHE)).read_bytes()
        except FileNotFoundError:
            return b""

    def save_timing_cache(self, key: PlanKey, data: bytes) -> None:
        """Keeps it for later builds; of two builds at once the later one's stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / (key.machine.timing_cache_name + LOCK)):
            self._write(self.folder / (key.machine.timing_cache_name + TIMING_CACHE), data)

    def list(self) -> list[Plan]:
        """All plans, by label; descriptions that make no sense are left out (see `damaged`)."""
        plans = [found for found in self._descriptions().values() if isinstance(found, Plan)]
        return sorted(plans, key=lambda plan: (plan.label, plan.name))

    def damaged(self) -> dict[Path, str]:
        """The descriptions that make no sense, and what is wrong with each."""
        return {path: str(found) for path, found in self._descriptions().items() if isinstance(found, PlanError)}

    def _descriptions(self) -> dict[Path, Plan | PlanError]:
        return {path: _reading(path) for path in sorted(self.folder.glob("*" + DESCRIPTION))}

    def _describe(self, plan: Plan) -> None:
        entries = {
            "format": PLAN_FORMAT,
            "label": plan.label,
            "key": plan.key.as_dict(),
            "sha256": plan.sha256,
            "size_bytes": plan.size_bytes,
            "built": plan.built,
            "facts": dict(plan.facts),
        }
        text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
        self._write(self.folder / (plan.name + DESCRIPTION), text.encode() + b"\n")

    def _write(self, path: Path, data: bytes) -> None:
        """The whole file at once, or nothing of it."""
        part = path.with_name(f"{path.name.partition('.')[0]}.{secrets.token_hex(4)}{PART}")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _data_path(folder: Path, key: PlanKey, sha256: str) -> Path:
    return folder / f"{key.name}.{sha256[:12]}{DATA}"


def _read(path: Path) -> Plan:
    """The plan that the description `path` is of; PlanError where that makes no sense or is of another format."""
    try:
        entries = json.loads(path.read_text("utf-8"))
        if (found := entries.pop("format")) != PLAN_FORMAT:
            raise PlanError(f"{path} has format {found!r}, expected {PLAN_FORMAT}")
        key = PlanKey.from_dict(entries.pop("key"))
        if path.stem != key.name or not re.fullmatch("[0-9a-f]{64}", entries["sha256"]):
            raise ValueError("it is of another plan")
        if not isinstance(entries["label"], str) or not isinstance(entries["facts"], dict):
            raise TypeError("label or facts")
        return Plan(path=_data_path(path.parent, key, entries["sha256"]), key=key, **entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{path} is damaged ({error!r})") from error


def _reading(path: Path) -> Plan | PlanError:
    try:
        return _read(path)
    except PlanError as error:
        return error
