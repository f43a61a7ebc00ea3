"""Whether chaos lost, repeated or stranded anything: each story against the rows it left, and every law.

Nothing here trusts a log or an answer of the API alone: what an intent should have come to follows from what was
drawn and from which requests were accepted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from resources.database import Connection
from sisu_pipeline import oracle
from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.chaos.scenarios import Plot, Story, Verb
from sisu_pipeline.proof.chaos.workload import Told
from sisu_pipeline.proof.harness.running_stack import Json
from sisu_pipeline.workflow import patching
from sql import query

STEPS = ["CompileST", "ApplyPatchST", "DecideST", "ExecuteST"]
_DAGSTER = {"succeeded": "SUCCESS", "retries_exceeded": "FAILURE", "canceled": "CANCELED"}


class Breach(StrEnum):
    """What can be wrong with an intent."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    STUCK = "stuck"
    WRONG = "wrong"


@dataclass(frozen=True)
class Violation:
    """One intent (or workflow id) that is not as it should be."""

    breach: Breach
    intent: str
    detail: str

    def to_json(self) -> Json:
        """As the report has it."""
        return {"breach": str(self.breach), "intent": self.intent, "detail": self.detail}


@dataclass(frozen=True)
class End:
    """What a story demands: the status, the beginning of the error, the rows; None where any number may be."""

    status: str
    error: str | None = None
    steps: int | None = 4
    tasks: int | None = 0
    bad_tasks: int | None = 0
    receipts: int | None = 0


def end_of(one: Told) -> End:
    """How this story must end, given what the system accepted."""
    story, tasks = one.story, one.story.tasks
    if one.was_accepted(Verb.CANCEL):
        # A cancellation that came after an approval may find any part of the work done.
        most = None if story.plot is Plot.CANCELED_LATE else 0
        return End("canceled", "canceled by chaos", None, most, most, most)
    if story.plot is Plot.REJECTED:
        return End("retries_exceeded", "Plan approval failed", 2)
    if story.plot is Plot.FAILS:
        return End("retries_exceeded", "SBX execution failed [CMD_NONZERO]", 4, tasks, tasks, tasks)
    if story.plot is Plot.GIVES_UP:
        # Nothing was executed, so nothing left a receipt; ExecuteST has no result to keep.
        return End("retries_exceeded", "Step executeTask has exceeded its maximum", 3, tasks, tasks, 0)
    return End("succeeded", None, 4, tasks, 0, tasks)


def judge(connection: Connection, told: Sequence[Told], workspaces: Path) -> Json:
    """The verdict on a whole stream, on one snapshot; `passed` when nothing is lost, duplicated, stuck or wrong.

    The connection must be idle.
    """
    with connection.transaction():
        connection.execute(query("oracle.snapshot"))
        return judge_here(connection, told, workspaces)


def judge_here(connection: Connection, told: Sequence[Told], workspaces: Path) -> Json:
    """The same within the caller's transaction: it sees what that transaction has changed."""
    laws = oracle.judge_here(connection)
    violations = list(_violations(connection, told, workspaces))
    counts = {str(breach): sum(each.breach is breach for each in violations) for breach in Breach}
    broken = {law.law: list(law.rows) for law in laws if not law.holds}
    return {
        "passed": not violations and not broken,
        "laws": len(laws),
        "broken_laws": broken,
        **counts,
        "violations": [each.to_json() for each in violations],
    }


def _violations(connection: Connection, told: Sequence[Told], workspaces: Path) -> Iterator[Violation]:
    rows = {row["workflow_id"]: row for row in connection.execute(query("labs.every_run"))}
    for one in told:
        name = f"{one.story.number} ({one.story.plot}) {one.workflow_id[:15]}"
        for text in one.wrong:
            yield Violation(Breach.WRONG, name, text)
        row = rows.pop(one.workflow_id, None)
        if row is None:
            yield Violation(Breach.LOST, name, "it has no run")
            continue
        if row["repeated"]:
            yield Violation(Breach.DUPLICATED, name, f"{row['repeated']} tasks were executed more than once")
        if row["status"] not in TERMINAL:
            yield Violation(Breach.STUCK, name, f"the run is {row['status']} after {row['steps']}")
            continue
        for text in _differences(one, row, workspaces):
            yield Violation(Breach.WRONG, name, text)
    for workflow_id in rows:
        yield Violation(Breach.DUPLICATED, workflow_id, "a run that nobody asked for")
    for row in connection.execute(query("labs.unsettled")):
        yield Violation(Breach.STUCK, row["workflow_id"], row["place"])


def _differences(one: Told, row: dict[str, Any], workspaces: Path) -> Iterator[str]:
    end = end_of(one)
    if row["status"] != end.status:
        yield f"the run is {row['status']} ({row['error']}), not {end.status}"
        return
    if not str(row["error"] or "").startswith(end.error or ""):
        yield f"it ended with: {row['error']}"
    if row["steps"] != STEPS[: len(row["steps"])] or end.steps not in (None, len(row["steps"])):
        yield f"its steps are {row['steps']}"
    for name in ("tasks", "bad_tasks", "receipts"):
        wanted = getattr(end, name)
        if wanted is not None and row[name] != wanted:
            yield f"{row[name]} {name}, not {wanted}"
    if max(row["tasks"], row["receipts"]) > one.story.tasks:
        yield f"{row['tasks']} results and {row['receipts']} receipts of {one.story.tasks} tasks"
    # Canceled before Dagster was asked, an intent has no Dagster run.
    is_unasked = row["dagster_status"] is None and row["status"] == "canceled"
    if row["dagster_status"] != _DAGSTER[end.status] and not is_unasked:
        yield f"Dagster says {row['dagster_status']}"
    yield from _patches(one.story, row, workspaces / row["id"])


def _patches(story: Story, row: dict[str, Any], folder: Path) -> Iterator[str]:
    """Patches stand in what succeeded and nowhere else, in the rows and in the files."""
    stands = row["status"] == "succeeded"
    standing = len(story.patches) if stands else 0
    if row["patches_standing"] != standing:
        yield f"{row['patches_standing']} patches stand, not {standing}"
    workspace = patching.workspace_of(folder.parent, folder.name)
    if not workspace.root.exists():
        if stands:
            yield "its workspace is gone"
        return
    patched = {patch["targetPath"]: patch["postimageContent"] for patch in story.patches}
    wanted = story.files | (patched if stands else {})
    for path in sorted({*patched, *story.files}):
        found = workspace.read(path)
        text = None if found is None else found.content.decode()
        # Ended before ApplyPatchST, a run has no files yet.
        if text != wanted.get(path) and not (text is None and not stands and "ApplyPatchST" not in row["steps"]):
            yield f"{path} holds {text!r}, not {wanted.get(path)!r}"
