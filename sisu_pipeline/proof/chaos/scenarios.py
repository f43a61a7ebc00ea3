"""The scenarios of chaos: a stream of intents of every kind, drawn from one seed. Pure.

A scenario is an intent, the client operations on it with their times, and the end that these require. Equal seeds
and durations yield equal streams, byte for byte.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

INTENTS_PER_MINUTE = 58
LIVE_INTENTS_PER_MINUTE = 20
"""Number of intents per minute when an agent plans each of them."""
PARTITIONS = 6
EDITED_TEST = "0.1 edited"
"""The only test of a changed plan."""
EDITED_FILE = "notes.txt"
"""The file whose patch is changed, if the plan has one."""
CHANGES = "Test less, and say in the notes that they were edited."
"""The comment of a request for changes."""
_DECISION_WITHIN_S = 12.0
_SOON_S = 3.0
_DEADLINE_S = (1, 4)
_QUESTION = {
    "question": "Where to?",
    "form": {
        "type": "object",
        "properties": {"environment": {"enum": ["staging", "production"]}},
        "required": ["environment"],
        "additionalProperties": False,
    },
}


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
    ASKED = "asks a question, answered, approved"
    EDITED = "edited, approved"
    EXPIRED = "left to its deadline, which rejects"
    REOPENED = "left to its deadline, opened again, approved"
    RETRIED = "approved, the command fails, retried"
    PLANLESS = "the agent submits no plan"
    REPLANNED = "the agent submits no plan, retried, approved"
    AGENT_DIES = "the agent ends in every session"
    REVISED = "changes requested, planned again, approved"


LIVE_KINDS = (ScenarioKind.PLANLESS, ScenarioKind.REPLANNED, ScenarioKind.AGENT_DIES, ScenarioKind.REVISED)
"""The kinds that only a coding agent can cause."""


class Operation(StrEnum):
    """A request of a client."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    ANSWER = "answer"
    EDIT = "approve an edited plan"
    RETRY = "retry"
    REVISE = "request changes, approve the answer"


_WEIGHTS = {
    ScenarioKind.APPROVED: 26,
    ScenarioKind.PARKED: 8,
    ScenarioKind.FLAKY: 6,
    ScenarioKind.FAILS: 6,
    ScenarioKind.GIVES_UP: 4,
    ScenarioKind.REJECTED: 8,
    ScenarioKind.CANCELED: 8,
    ScenarioKind.CANCELED_LATE: 8,
    ScenarioKind.ASKED: 8,
    ScenarioKind.EDITED: 6,
    ScenarioKind.EXPIRED: 4,
    ScenarioKind.REOPENED: 4,
    ScenarioKind.RETRIED: 4,
}
_LIVE_WEIGHTS = _WEIGHTS | {ScenarioKind.APPROVED: 10} | dict(zip(LIVE_KINDS, (3, 4, 3, 6), strict=True))
_COMMANDS = {
    ScenarioKind.FLAKY: "FLAKY_INFRA_FAIL",
    ScenarioKind.FAILS: "FAIL_ME",
    ScenarioKind.GIVES_UP: "INFRA_FAIL",
    ScenarioKind.RETRIED: "FAIL_ME",
}
_DECISIONS = {
    ScenarioKind.REJECTED: Operation.REJECT,
    ScenarioKind.CANCELED: Operation.CANCEL,
    ScenarioKind.EDITED: Operation.EDIT,
    ScenarioKind.REVISED: Operation.REVISE,
}
_CHANGED = (ScenarioKind.EDITED, ScenarioKind.REVISED)
"""The kinds whose plan is changed, by a person or by the agent: another test, and another text of EDITED_FILE."""
_UNDECIDED = (ScenarioKind.EXPIRED, ScenarioKind.PLANLESS, ScenarioKind.AGENT_DIES)
# Minimum and maximum number of tasks, and the weight of the range.
_SIZES = ((0, 5, 60), (6, 12, 30), (13, 30, 10))


@dataclass(frozen=True)
class ScheduledOperation:
    """An operation and its time, in seconds since the start of the stream."""

    at_s: float
    operation: Operation


@dataclass(frozen=True)
class Scenario:
    """One intent and the operations on it, which are performed one after another.

    `inputs` hold the files, and the tests, command and patches of the plan; `is_live` if an agent makes that plan.
    """

    number: int
    kind: ScenarioKind
    goal: str
    inputs: dict[str, Any]
    partition: str
    operations: tuple[ScheduledOperation, ...]
    constraints: Mapping[str, Any] = field(default_factory=dict)
    is_live: bool = False

    @property
    def intent(self) -> dict[str, Any]:
        """The body of `POST /intents`. An agent receives only the files: the plan is its answer."""
        inputs = {"files": self.files} if self.is_live else self.inputs
        return {"goal": self.goal, "inputs": inputs, "constraints": dict(self.constraints)}

    @property
    def tasks(self) -> int:
        """The number of sandbox tasks in its fan-out."""
        return 1 if self.kind in _CHANGED else max(1, len(self.inputs["tests"]))

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
        """The files of its workspace after the patches, edited ones included."""
        files = dict(self.files)
        for patch in self.patches:
            before = files.pop(patch.get("fromPath", patch["targetPath"]), "")
            if patch.get("op") != "delete":
                files[patch["targetPath"]] = patch.get("postimageContent", before)
        if self.kind in _CHANGED and self.patches:
            files[EDITED_FILE] = self.edited_text
        return files

    @property
    def edited_text(self) -> str:
        """The content that a changed plan gives to EDITED_FILE."""
        return f"intent {self.number}, edited\n"


def draw(seed: int, seconds: float, *, live: bool = False) -> list[Scenario]:
    """Draw the intents of `seconds`, in the order of submission; `live` if a coding agent plans each of them."""
    # The seed's text is part of what a seed means: with another one, recorded seeds would name other streams.
    rng = random.Random(f"chaos/{seed}/stories")  # noqa: S311 - a schedule is no secret
    count = max(1, round(seconds / 60 * (LIVE_INTENTS_PER_MINUTE if live else INTENTS_PER_MINUTE)))
    starts = sorted(rng.uniform(0, seconds) for _ in range(count))
    return [_scenario(rng, seed, number, start, seconds, live=live) for number, start in enumerate(starts)]


def _scenario(rng: random.Random, seed: int, number: int, start: float, end: float, *, live: bool) -> Scenario:
    weights = _LIVE_WEIGHTS if live else _WEIGHTS
    kind = rng.choices(list(weights), list(weights.values()))[0]
    return Scenario(
        number=number,
        kind=kind,
        goal=f"chaos {seed}: intent {number}",
        inputs=_inputs(rng, kind, number),
        partition=f"tenant-{rng.randrange(PARTITIONS)}",
        operations=tuple(sorted(_operations(rng, kind, start, end), key=lambda each: each.at_s)),
        constraints=constraints_of(kind, rng.randint(*_DEADLINE_S)),
        is_live=live,
    )


def constraints_of(kind: ScenarioKind, deadline_s: int) -> dict[str, Any]:
    """The constraints of an intent of this kind."""
    if kind is ScenarioKind.ASKED:
        return {"askUser": _QUESTION}
    if kind in (ScenarioKind.EXPIRED, ScenarioKind.REOPENED):
        return {"planApprovalTimeoutS": deadline_s}
    return {}


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
            EDITED_FILE: f"intent {number}\n",
            "kept.txt": "kept\n",
            "gone.txt": "gone\n",
            "old.txt": "moved\n",
        }
        inputs["patches"] = [
            _patch(EDITED_FILE, f"intent {number}, patched\n"),
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
    if kind in _UNDECIDED:
        return
    if kind is ScenarioKind.PARKED:
        decided = end
    if kind is ScenarioKind.ASKED:
        yield ScheduledOperation(start + rng.uniform(0, _DECISION_WITHIN_S), Operation.ANSWER)
    if kind in (ScenarioKind.REOPENED, ScenarioKind.REPLANNED):
        # A request waits for the state that it needs, and later ones wait for it.
        yield ScheduledOperation(start + _SOON_S, Operation.RETRY)
        yield ScheduledOperation(start + 2 * _SOON_S, Operation.APPROVE)
        return
    decision = _DECISIONS.get(kind, Operation.APPROVE)
    yield ScheduledOperation(decided, decision)
    if rng.random() < 0.2 and kind not in _CHANGED:
        yield ScheduledOperation(decided + rng.uniform(0, _SOON_S), decision)
    if kind is ScenarioKind.RETRIED:
        yield ScheduledOperation(decided + rng.uniform(0, _SOON_S), Operation.RETRY)
    elif kind is ScenarioKind.CANCELED_LATE:
        yield ScheduledOperation(decided + rng.uniform(0, _SOON_S), Operation.CANCEL)
    elif rng.random() < 0.15:
        # A conflicting decision that comes too late and must be refused.
        conflict = Operation.APPROVE if decision is Operation.REJECT else Operation.REJECT
        yield ScheduledOperation(decided + rng.uniform(0.1, _SOON_S), conflict)
