"""The image's promises, read from its recipe: pinned, small context, no root, no secrets, healthy when it says so."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("cpu", "gpu")


@dataclass
class Stage:
    """A stage's name, what it starts from, and its instructions (name, rest of the line) in order."""

    name: str
    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            parent, _, name = rest.partition(" AS ")
            found[name] = Stage(name, parent)
        elif found and instruction:
            found[next(reversed(found))].steps.append((instruction, rest))
    return found


def steps(stages: dict[str, Stage], name: str) -> list[tuple[str, str]]:
    """All instructions that make the image of a stage, its parents' first."""
    stage = stages[name]
    return (steps(stages, stage.parent) if stage.parent in stages else []) + stage.steps


def values(stages: dict[str, Stage], name: str, instruction: str) -> list[str]:
    return [rest for found, rest in steps(stages, name) if found == instruction]


def test_the_base_image_is_one_and_named_by_a_full_tag(stages: dict[str, Stage]) -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert {stage.parent for stage in stages.values()} - set(stages) == {"${PYTHON_IMAGE}"}
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)


def test_plain_build_makes_the_cpu_image(stages: dict[str, Stage]) -> None:
    assert next(reversed(stages)) == "cpu"


@pytest.mark.parametrize("target", TARGETS)
def test_packages_come_from_the_lock_file_by_hash(stages: dict[str, Stage], target: str) -> None:
    lock = {"cpu": "base.lock", "gpu": "gpu.lock"}[target]
    installs = [
        command
        for run in values(stages, f"packages-{target}", "RUN")
        for command in run.split("&&")
        if "pip install" in command
    ]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert lock in installs[0]
    assert "--no-deps /wheels/" in installs[1]
    assert f"--from=packages-{target} /opt/faceserve /opt/faceserve" in values(stages, target, "COPY")[-1]


@pytest.mark.parametrize("lock", ["base.lock", "gpu.lock"])
def test_every_package_of_a_lock_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements" / lock).read_text("utf-8").strip())
    assert len(entries) > 30
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_gpu_image_has_the_gpu_runtime_and_not_the_other() -> None:
    text = (ROOT / "requirements" / "gpu.lock").read_text("utf-8")
    assert re.search(r"^onnxruntime-gpu==", text, re.MULTILINE)
    assert re.search(r"^nvidia-cudnn", text, re.MULTILINE)
    assert not re.search(r"^onnxruntime==", text, re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_nobody_is_root(stages: dict[str, Stage], target: str) -> None:
    users = values(stages, target, "USER")
    assert users == ["10001:10001"]
    made = steps(stages, target)
    after = made[made.index(("USER", users[0])) :]
    assert not [step for step in after if step[0] == "RUN"]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_built_or_copied_from_the_context_in_the_final_image(stages: dict[str, Stage], target: str) -> None:
    assert all(copy.startswith("--from=") for copy in values(stages, target, "COPY"))
    assert not any("pip " in run for run in values(stages, target, "RUN"))


@pytest.mark.parametrize("target", TARGETS)
def test_it_serves_where_the_settings_say(stages: dict[str, Stage], target: str) -> None:
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(values(stages, target, "ENV"))))
    ours = {name for name in variables if name.startswith("FACESERVE_")}
    assert {name.removeprefix("FACESERVE_").lower() for name in ours} <= set(Settings.model_fields)
    assert variables["FACESERVE_HOST"] == "0.0.0.0"
    assert values(stages, target, "VOLUME") == [variables["FACESERVE_DATA_DIR"]]
    assert values(stages, target, "EXPOSE") == [str(Settings.model_fields["port"].default)]
    assert variables.get("FACESERVE_DEVICE", "cpu") == {"cpu": "cpu", "gpu": "cuda:0"}[target]
    assert variables.get("FACESERVE_RUNTIME", "auto") == {"cpu": "auto", "gpu": "onnxruntime"}[target]
    assert json.loads(values(stages, target, "ENTRYPOINT")[0]) == ["faceserve"]
    assert json.loads(values(stages, target, "CMD")[0]) == ["serve"]
    assert values(stages, target, "STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_health_check_is_python_that_asks_readyz(stages: dict[str, Stage], target: str) -> None:
    (check,) = values(stages, target, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "health check", "exec")
    assert "/readyz" in command[2]


def test_no_secret_and_no_open_door_is_baked_in(stages: dict[str, Stage]) -> None:
    for stage in stages.values():
        for instruction, rest in stage.steps:
            assert not (instruction in ("ENV", "ARG") and re.search("key|token|secret|password|ANONYMOUS", rest, re.I))


def test_the_context_is_what_is_copied_and_no_more(stages: dict[str, Stage]) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in stages.values()
        for copy in (rest for instruction, rest in stage.steps if instruction == "COPY")
        if not copy.startswith("--from=")
        for source in copy.split()[:-1]
    }
    assert {re.sub(r"\w+\.lock$", "*.lock", source) for source in copied} == let_in
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize(
    "line",
    [
        "FACESERVE_API_KEY: ${FACESERVE_API_KEY:?",
        "read_only: true",
        "cap_drop:\n    - ALL",
        "no-new-privileges:true",
        "- faces:/data",
        "- 127.0.0.1:",
        "target: cpu",
        "target: gpu",
        "profiles:\n      - gpu",
    ],
)
def test_compose_keeps_the_door_shut(line: str) -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    assert line in text
    assert "ALLOW_ANONYMOUS" not in text
    assert "privileged: true" not in text
