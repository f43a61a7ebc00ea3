"""Which connections `sisu lab cuts` cuts: the kinds of intents, and the cuts drawn from their statements. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from sisu_pipeline.proof.chaos.scenarios import EDITED_FILE, Operation, Scenario, ScenarioKind, constraints_of
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, Statement

NAME = "cuts"
KINDS: Mapping[ScenarioKind, tuple[Operation, ...]] = {
    ScenarioKind.APPROVED: (Operation.APPROVE,),
    ScenarioKind.FAILS: (Operation.APPROVE,),
    ScenarioKind.REJECTED: (Operation.REJECT,),
    ScenarioKind.CANCELED: (Operation.CANCEL,),
    ScenarioKind.ASKED: (Operation.ANSWER, Operation.APPROVE),
    ScenarioKind.EDITED: (Operation.EDIT,),
    ScenarioKind.REOPENED: (Operation.RETRY, Operation.APPROVE),
    ScenarioKind.RETRIED: (Operation.APPROVE, Operation.RETRY),
}
"""The kinds of intents in which connections are cut, and the operations on them."""
LIVE_KINDS: Mapping[ScenarioKind, tuple[Operation, ...]] = {
    ScenarioKind.APPROVED: (Operation.APPROVE,),
    ScenarioKind.REPLANNED: (Operation.RETRY, Operation.APPROVE),
    ScenarioKind.CANCELED: (Operation.CANCEL,),
    ScenarioKind.REVISED: (Operation.REVISE,),
    ScenarioKind.AGENT_DIES: (),
    ScenarioKind.ASKED: (Operation.ANSWER, Operation.APPROVE),
}
"""The same when a scripted coding agent makes the plans."""
OBSERVED_INTENTS = 2
"""Number of intents of each kind whose statements are recorded before the first cut."""
FIRST_OCCURRENCES = 3
"""A statement that is sent often is cut at its first occurrences and at its last."""
_MOVING = ("intent_worker", "planner_worker")
_TASKS = 2
_DEADLINE_S = 1

StatementCounts = Mapping[ScenarioKind, Mapping[Statement, int]]


@dataclass(frozen=True)
class PlannedCut:
    """A cut, and the kind of intent in which it is made."""

    kind: ScenarioKind
    cut: Cut


def draw(
    statements: StatementCounts, count: int | None, seed: int, *, kill_process: bool = False
) -> list[PlannedCut]:
    """Plan a cut before and after every statement, at its first and last occurrences; draw `count` of them. Pure.

    Statements of intent and planner workers are cut in every kind of intent, those of other processes in the first
    kind that has them.
    """
    every: list[PlannedCut] = []
    known: set[Statement] = set()
    for kind, counts in statements.items():
        for statement in sorted(counts, key=lambda each: (each.component, each.text)):
            if statement in known and statement.component not in _MOVING:
                continue
            known.add(statement)
            last = max(1, counts[statement] // OBSERVED_INTENTS)
            occurrences = sorted({*range(1, min(FIRST_OCCURRENCES, last) + 1), last})
            every += [
                PlannedCut(kind, Cut(statement, occurrence, moment, kill_process))
                for occurrence in occurrences
                for moment in Moment
            ]
    if count is None or count >= len(every):
        return every
    return random.Random(f"{NAME}/{seed}").sample(every, count)  # noqa: S311


def scenario_of(number: int, kind: ScenarioKind, seed: int, *, live: bool) -> Scenario:
    """A small intent of this kind."""
    patch = {"targetPath": EDITED_FILE, "postimageContent": "patched\n", "diffText": "-before\n+patched\n"}
    fails = kind in (ScenarioKind.FAILS, ScenarioKind.RETRIED)
    inputs = {
        "tests": [f"t{task}" for task in range(_TASKS)],
        "testCommand": "FAIL_ME" if fails else "run",
        "files": {EDITED_FILE: "before\n", "kept.txt": "kept\n"},
        "patches": [patch],
    }
    constraints = constraints_of(kind, _DEADLINE_S)
    return Scenario(number, kind, f"cut {seed}: intent {number}", inputs, NAME, (), constraints, live)
