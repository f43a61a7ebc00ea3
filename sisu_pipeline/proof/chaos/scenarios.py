"""The scenarios of chaos: a stream of intents of every kind, drawn from one seed. Pure.

A scenario is an intent, the client operations on it with their times, and the end that these require. Equal seeds
and durations yield equal streams, byte for byte.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

INTENTS_PER_MINUTE = 58
PARTITIONS = 6
_DECISION_WITHIN_S = 12.0
_SOON_S = 3.0


class ScenarioKind(StrEnum):
    """What happens to an intent."""

    APPROVED = "approved"
    PARKED = "left waiting, approved last"
    FLAKY = "approved, the infrastructure fails twice"
    FAILS = "approved, the command fails"
    GIVES_UP = "approved, the infrastructure always fails"
    REJECTED = "rejected"
    CANCELED = "canceled before a decision"
    CANCELED_LATE = "approved, then canceled"


class Operation(StrEnum):
    """A request of a client."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"


_WEIGHTS = {
    ScenarioKind.APPROVED: 46,
    ScenarioKind.PARKED: 8,
    ScenarioKind.FLAKY: 8,
    ScenarioKind.FAILS: 8,
    ScenarioKind.GIVES_UP: 4,
    ScenarioKind.REJECTED: 10,
    ScenarioKind.CANCELED: 8,
    ScenarioKind.CANCELED_LATE: 8,
}
_COMMANDS = {
    ScenarioKind.FLAKY: "FLAKY_INFRA_FAIL",
    ScenarioKind.FAILS: "FAIL_ME",
    ScenarioKind.GIVES_UP: "INFRA_FAIL",
}
_DECISIONS = {ScenarioKind.REJECTED: Operation.REJECT, ScenarioKind.CANCELED: Operation.CANCEL}
# Minimum and maximum number of tasks, and the weight of the range.
_SIZES = ((0, 5, 60), (6, 12, 30), (13, 30, 10))


@dataclass(frozen=True)
class ScheduledOperation:
    """An operation and its time, in seconds since the start of the stream."""

    at_s: float
    operation: Operation


@dataclass(frozen=True)
class Scenario:
    """One intent and the operations on it, which are performed one after another."""

    number: int
    kind: ScenarioKind
    goal: str
    inputs: dict[str, Any]
    partition: str
    operations: tuple[ScheduledOperation, ...]

    @property
    def tasks(self) -> int:
        """The number of sandbox tasks in its fan-out."""
        return max(1, len(self.inputs["tests"]))

    @property
    def patches(self) -> list[dict[str, str]]:
        """The patches of its plan."""
        found: list[dict[str, str]] = self.inputs.get("patches", [])
        return found

    @property
    def files(self) -> dict[str, str]:
        """The files of its workspace before the patches."""
        found: dict[str, str] = self.inputs.get("files", {})
        return found

    @property
    def files_after(self) -> dict[str, str]:
        """The files of its workspace after the patches."""
        files = dict(self.files)
        for patch in self.patches:
            before = files.pop(patch.get("fromPath", patch["targetPath"]), "")
            if patch.get("op") != "delete":
                files[patch["targetPath"]] = patch.get("postimageContent", before)
        return files


def draw(seed: int, seconds: float) -> list[Scenario]:
    """Draw INTENTS_PER_MINUTE for `seconds`, in the order of submission."""
    # The seed's text is part of what a seed means: with another one, recorded seeds would name other streams.
    rng = random.Random(f"chaos/{seed}/stories")  # noqa: S311 - a schedule is no secret
    count = max(1, round(seconds / 60 * INTENTS_PER_MINUTE))
    starts = sorted(rng.uniform(0, seconds) for _ in range(count))
    return [_scenario(rng, seed, number, start, seconds) for number, start in enumerate(starts)]


def _scenario(rng: random.Random, seed: int, number: int, start: float, end: float) -> Scenario:
    kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    return Scenario(
        number=number,
        kind=kind,
        goal=f"chaos {seed}: intent {number}",
        inputs=_inputs(rng, kind, number),
        partition=f"tenant-{rng.randrange(PARTITIONS)}",
        operations=tuple(sorted(_operations(rng, kind, start, end), key=lambda each: each.at_s)),
    )


def _inputs(rng: random.Random, kind: ScenarioKind, number: int) -> dict[str, Any]:
    fewest, most, _ = rng.choices(_SIZES, [weight for _, _, weight in _SIZES])[0]
    sizes = rng.randint(fewest, most)
    sleeps = kind not in _COMMANDS and rng.random() < 0.4
    inputs: dict[str, Any] = {
        "testCommand": _COMMANDS.get(kind, "sleep" if sleeps else "pnpm test"),
        "tests": [f"{round(rng.uniform(0.1, 2.0), 2)} t{n}" if sleeps else f"t{n}" for n in range(sizes)],
    }
    if rng.random() < 0.4:
        inputs["files"] = {
            "notes.txt": f"intent {number}\n",
            "kept.txt": "kept\n",
            "gone.txt": "gone\n",
            "old.txt": "moved\n",
        }
        inputs["patches"] = [
            _patch("notes.txt", f"intent {number}, patched\n"),
            *([_patch("src/new.py", f"number = {number}\n")] if rng.random() < 0.5 else []),
            {"targetPath": "gone.txt", "op": "delete"},
            {"targetPath": "moved/new.txt", "op": "rename", "fromPath": "old.txt", "mode": "100755"},
        ]
    return inputs


def _patch(path: str, text: str) -> dict[str, str]:
    return {"targetPath": path, "postimageContent": text, "diffText": f"+{text}"}


def _operations(rng: random.Random, kind: ScenarioKind, start: float, end: float) -> Iterator[ScheduledOperation]:
    yield ScheduledOperation(start, Operation.SUBMIT)
    if rng.random() < 0.2:
        yield ScheduledOperation(start + rng.uniform(0, _SOON_S), Operation.SUBMIT)
    # Some decisions come before the gate opens; those of parked intents come after the last fault.
    is_early = rng.random() < 0.25
    decided = start + rng.uniform(0, 0.3 if is_early else _DECISION_WITHIN_S)
    if kind is ScenarioKind.PARKED:
        decided = end
    decision = _DECISIONS.get(kind, Operation.APPROVE)
    yield ScheduledOperation(decided, decision)
    if rng.random() < 0.2:
        yield ScheduledOperation(decided + rng.uniform(0, _SOON_S), decision)
    if kind is ScenarioKind.CANCELED_LATE:
        yield ScheduledOperation(decided + rng.uniform(0, _SOON_S), Operation.CANCEL)
    elif rng.random() < 0.15:
        # A conflicting decision that comes too late and must be refused.
        conflict = Operation.APPROVE if decision is Operation.REJECT else Operation.REJECT
        yield ScheduledOperation(decided + rng.uniform(0.1, _SOON_S), conflict)
