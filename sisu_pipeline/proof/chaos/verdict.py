"""The verdict on chaos: compare every scenario with the rows it left, and check every law.

It trusts neither logs nor responses alone: the expected end of an intent follows from its scenario and from the
requests that were accepted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from resources.database import Connection
from sisu_pipeline import oracle
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.chaos.scenarios import Operation, Scenario, ScenarioKind
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome
from sisu_pipeline.proof.harness.running_stack import Json
from sisu_pipeline.workflow import patching
from sql import query

STEPS = [*StepId]
_STEPS_WITH_RETRY = [*STEPS, StepId.EXECUTE]
_PLANNING_FAILED = "Planning failed ["
_NONZERO = "SBX execution failed [CMD_NONZERO]"
_MOST_TRIES = 3
_PASSING = frozenset({"agent_ended", "agent_error", "agent_idle", "agent_silent", "box_failed", "tool_not_listed"})
_DAGSTER_STATUSES = {"succeeded": "SUCCESS", "retries_exceeded": "FAILURE", "canceled": "CANCELED"}


class Breach(StrEnum):
    """What can be wrong with an intent."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    STUCK = "stuck"
    WRONG = "wrong"


@dataclass(frozen=True)
class Violation:
    """An intent (or workflow id) that violates an expectation."""

    breach: Breach
    intent: str
    detail: str

    def to_json(self) -> Json:
        """The violation as it appears in the report."""
        return {"breach": str(self.breach), "intent": self.intent, "detail": self.detail}


@dataclass(frozen=True)
class ExpectedEnd:
    """The expected status, beginning of the error, and row counts; None where any number is allowed."""

    status: str
    error: str | None = None
    steps: int | None = 4
    tasks: int | None = 0
    bad_tasks: int | None = 0
    receipts: int | None = 0
    answers: int | None = 1
    """Answers of a coding agent, if one makes the plan."""


PLANNING_FAILED = ExpectedEnd("retries_exceeded", _PLANNING_FAILED, 0, answers=0)


def expected_end(outcome: ScenarioOutcome) -> ExpectedEnd:
    """The end that the scenario requires, given which operations were accepted."""
    scenario, tasks = outcome.scenario, outcome.scenario.tasks
    if outcome.was_accepted(Operation.CANCEL):
        # A cancellation after an approval may find any part of the work done.
        most = None if scenario.kind is ScenarioKind.CANCELED_LATE else 0
        return ExpectedEnd("canceled", "canceled by chaos", None, most, most, most, None)
    end = _FAILURES.get(scenario.kind)
    answers = 2 if scenario.kind is ScenarioKind.REVISED else 1
    return ExpectedEnd("succeeded", None, 4, tasks, 0, tasks, answers) if end is None else end(tasks)


_FAILURES: dict[ScenarioKind, Callable[[int], ExpectedEnd]] = {
    ScenarioKind.REJECTED: lambda _: ExpectedEnd("retries_exceeded", "Plan approval failed", 2),
    ScenarioKind.EXPIRED: lambda _: ExpectedEnd(
        "retries_exceeded", "Plan approval failed: no (rationale: timeout)", 2
    ),
    ScenarioKind.PLANLESS: lambda _: PLANNING_FAILED,
    ScenarioKind.AGENT_DIES: lambda _: PLANNING_FAILED,
    ScenarioKind.FAILS: lambda tasks: ExpectedEnd("retries_exceeded", _NONZERO, 4, tasks, tasks, tasks),
    # Each task failed, so each one is executed again, and ExecuteST is committed twice.
    ScenarioKind.RETRIED: lambda tasks: ExpectedEnd("retries_exceeded", _NONZERO, 5, *[2 * tasks] * 3),
    # No task was executed, so there is no receipt; ExecuteST has no result to store.
    ScenarioKind.GIVES_UP: lambda tasks: ExpectedEnd(
        "retries_exceeded", "Step executeTask has exceeded its maximum", 3, tasks, tasks, 0
    ),
}


def judge(connection: Connection, outcomes: Sequence[ScenarioOutcome], workspaces: Path) -> Json:
    """The verdict on all scenarios, on one snapshot; `passed` when no intent is lost, duplicated, stuck or wrong.

    The connection must not be in a transaction.
    """
    with connection.transaction():
        connection.execute(query("oracle.snapshot"))
        return judge_in_transaction(connection, outcomes, workspaces)


def judge_in_transaction(connection: Connection, outcomes: Sequence[ScenarioOutcome], workspaces: Path) -> Json:
    """The same verdict within the caller's transaction, including its uncommitted changes."""
    laws = oracle.judge_here(connection)
    violations = list(_violations(connection, outcomes, workspaces))
    counts = {str(breach): sum(each.breach is breach for each in violations) for breach in Breach}
    broken = {law.law: list(law.rows) for law in laws if not law.holds}
    return {
        "passed": not violations and not broken,
        "laws": len(laws),
        "broken_laws": broken,
        **counts,
        "planning_given_up": _count_given_up(connection, outcomes),
        "violations": [each.to_json() for each in violations],
    }


def _violations(
    connection: Connection, outcomes: Sequence[ScenarioOutcome], workspaces: Path
) -> Iterator[Violation]:
    rows = {row["workflow_id"]: row for row in connection.execute(query("labs.every_run"))}
    for outcome in outcomes:
        name = f"{outcome.scenario.number} ({outcome.scenario.kind}) {outcome.workflow_id[:15]}"
        for text in outcome.wrong_responses:
            yield Violation(Breach.WRONG, name, text)
        row = rows.pop(outcome.workflow_id, None)
        if row is None:
            yield Violation(Breach.LOST, name, "it has no run")
            continue
        if row["most_answers"] > 1 or row["questions"] > row["retry_count"] + 1 + row["requests"]:
            text = (
                f"{row['questions']} questions in {row['retry_count'] + 1} attempts and {row['requests']} requests "
                f"for changes, {row['answers']} answers"
            )
            yield Violation(Breach.DUPLICATED, name, text)
        if row["repeated"]:
            yield Violation(Breach.DUPLICATED, name, f"{row['repeated']} tasks were executed more than once")
        if row["status"] not in TERMINAL:
            yield Violation(Breach.STUCK, name, f"the run is {row['status']} after {row['steps']}")
            continue
        for text in _differences(outcome, row, workspaces):
            yield Violation(Breach.WRONG, name, text)
    for workflow_id in rows:
        yield Violation(Breach.DUPLICATED, workflow_id, "a run that no client requested")
    for row in connection.execute(query("labs.unsettled")):
        yield Violation(Breach.STUCK, row["workflow_id"], row["place"])


def is_given_up(row: Json) -> bool:
    """Whether the run's newest question was given up after every try had a failure that may pass.

    Faults can hit each try of one question; the run then ends with a sentence, and can be retried.
    """
    codes = row["failures"][-1].split() if row["failures"] else []
    return len(codes) == _MOST_TRIES and _PASSING.issuperset(codes)


def _count_given_up(connection: Connection, outcomes: Sequence[ScenarioOutcome]) -> int:
    """The number of questions that faults interrupted in every try."""
    rows = {row["workflow_id"]: row for row in connection.execute(query("labs.every_run"))}
    interrupted = (each for each in outcomes if each.scenario.kind is not ScenarioKind.AGENT_DIES)
    return sum(is_given_up(rows[each.workflow_id]) for each in interrupted if each.workflow_id in rows)


def _differences(outcome: ScenarioOutcome, row: Json, workspaces: Path) -> Iterator[str]:
    end = expected_end(outcome)
    if row["status"] != "canceled" and is_given_up(row):
        end = PLANNING_FAILED
    if row["status"] != end.status:
        yield f"expected status {end.status}, got {row['status']} ({row['error']})"
        return
    if not str(row["error"] or "").startswith(end.error or ""):
        yield f"expected error {end.error}, got {row['error']}"
    if row["steps"] != _STEPS_WITH_RETRY[: len(row["steps"])] or end.steps not in (None, len(row["steps"])):
        yield f"expected {end.steps} steps in order, got {row['steps']}"
    for name in ("tasks", "bad_tasks", "receipts"):
        expected = getattr(end, name)
        if expected is not None and row[name] != expected:
            yield f"expected {expected} {name}, got {row[name]}"
    most = outcome.scenario.tasks * (2 if outcome.scenario.kind is ScenarioKind.RETRIED else 1)
    if max(row["tasks"], row["receipts"]) > most:
        yield f"{row['tasks']} results and {row['receipts']} receipts of {most} tasks"
    answers = end.answers if outcome.scenario.is_live else 0
    if answers is not None and row["answers"] != answers:
        yield f"expected {answers} answers of the agent, got {row['answers']} after {row['failures']}"
    # An intent canceled before the sensor requested its Dagster run has none.
    never_requested = row["dagster_status"] is None and row["status"] == "canceled"
    if row["dagster_status"] != _DAGSTER_STATUSES[end.status] and not never_requested:
        yield f"expected Dagster status {_DAGSTER_STATUSES[end.status]}, got {row['dagster_status']}"
    yield from _patch_differences(outcome.scenario, row, workspaces / row["id"])


def _patch_differences(scenario: Scenario, row: Json, folder: Path) -> Iterator[str]:
    """Patches stay only if the run succeeded: in the rows and in the files."""
    stands = row["status"] == "succeeded"
    standing = len(scenario.patches) if stands else 0
    if row["patches_standing"] != standing:
        yield f"expected {standing} patches in place, got {row['patches_standing']}"
    workspace = patching.workspace_of(folder.parent, folder.name)
    if not workspace.root.exists():
        if stands:
            yield "its workspace is missing"
        return
    expected = scenario.files_after if stands else scenario.files
    for path in sorted({*scenario.files_after, *scenario.files}):
        found = workspace.read(path)
        text = None if found is None else found.content.decode()
        # A run that ended before ApplyPatchST has no files yet.
        no_files_yet = text is None and not stands and "ApplyPatchST" not in row["steps"]
        if text != expected.get(path) and not no_files_yet:
            yield f"{path} contains {text!r}, expected {expected.get(path)!r}"
