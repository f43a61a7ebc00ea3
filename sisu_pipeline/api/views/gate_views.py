"""What the API shows of gates, from rows."""

from collections import Counter
from typing import Any

from resources.database import Connection, Row
from sisu_pipeline.api.schemas.gate_schemas import (
    ActiveRun,
    FinishedRun,
    Form,
    GateEntry,
    GateState,
    Inbox,
    Interactions,
    InteractionView,
    PatchView,
    PlanVersionView,
    PlanView,
    Stranded,
)
from sisu_pipeline.api.schemas.run_schemas import Approvals
from sisu_pipeline.api.views import run_views
from sisu_pipeline.api.views.run_views import one
from sisu_pipeline.contracts.gate import Decision, TimeoutOutcome
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import PLAN_GATE
from sisu_pipeline.store import answers, deadlines, gates, intents, plans, quorum, runs
from sisu_pipeline.store import interactions as ledger
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow.commands import checked_reference
from sisu_pipeline.workflow.patching import intent_files
from sql import query

MAX_GATES = 200
MAX_RUNS = 12
MAX_INTERACTIONS = 500


def inbox(connection: Connection) -> Inbox:
    """What waits for people, and what waits for a worker."""
    rows = connection.execute(query("gates.inbox"), {"limit": MAX_GATES}).fetchall()
    limit = {"limit": MAX_RUNS}
    active = connection.execute(query("views.active"), limit).fetchall()
    finished = connection.execute(query("views.finished"), limit).fetchall()
    return Inbox(
        gates=[_entry(row, GateState.WAITING) for row in rows],
        active=[
            ActiveRun(**run_views.progress(connection, runs.from_row(row)), goal=row["goal"]) for row in active
        ],
        finished=[FinishedRun(**run_views.head(runs.from_row(row)), goal=row["goal"]) for row in finished],
        stranded=_stranded(connection),
        now=one(connection, "steps.clock", {})["now"],
    )


def of_run(connection: Connection, run_reference: str) -> list[GateEntry]:
    """A run's gates. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    goal = intents.get(connection, run.intent_id).goal
    edited = plans.edited_hash(connection, run.id)
    required = quorum.rules(connection, run.id).required
    shown = []
    for row in gates.of_run(connection, run.id):
        current = edited or row["plan_sha256"]
        more = {
            "workflow_id": run.workflow_id,
            "status": run.status,
            "tenant_id": run.tenant_id,
            "goal": goal,
            "current_sha256": current,
            "approvals_required": required,
            "approvals_given": len(ledger.voters(connection, run.id, row["gate_key"], current)),
        }
        shown.append(_entry({**row, **more}, *_outcome(connection, run, row)))
    return shown


def of_key(connection: Connection, run_reference: str, gate_key: str) -> GateEntry:
    """One gate. Raises NotFound."""
    for entry in of_run(connection, run_reference):
        if entry.gate_key == gate_key:
            return entry
    raise NotFound("gate not found")


def plan(connection: Connection, run_reference: str) -> PlanView:
    """The plan as it is now. Raises NotFound before there is one."""
    run = runs.get(connection, checked_reference(run_reference))
    version = plans.current(connection, run.id)
    read = version.read()
    # The intent's own files are what patches start from; a patch may follow another one on the same file.
    files: dict[str, str] = dict(intent_files(intents.get(connection, run.intent_id)))
    patches = []
    for patch in read.patch_plan or []:
        patches.append(
            PatchView(
                target_path=patch.target_path,
                before=files.get(patch.target_path),
                after=patch.postimage_content,
                diff_text=patch.diff_text,
            )
        )
        files[patch.target_path] = patch.postimage_content
    return PlanView(
        run_id=run.id,
        version=version.number,
        plan_sha256=version.sha256,
        plan=read,
        patches=patches,
        versions=[PlanVersionView(**row) for row in plans.versions(connection, run.id)],
    )


def interactions(connection: Connection, run_reference: str) -> Interactions:
    """Everything said at a run's gates. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    rows = ledger.of_run(connection, run.id, MAX_INTERACTIONS)
    return Interactions(interactions=[InteractionView(**row) for row in rows])


def _entry(
    row: Row, state: GateState, decided_by: str | None = None, answer: dict[str, Any] | None = None
) -> GateEntry:
    form = (
        None if row["form"] is None else Form(question=row["form"]["question"], answer_schema=row["form"]["schema"])
    )
    required = row["approvals_required"]
    is_shared = required > 1 and row["purpose"] == PLAN_GATE
    return GateEntry(
        run_id=row["run_id"],
        workflow_id=row["workflow_id"],
        gate_key=row["gate_key"],
        purpose=row["purpose"],
        goal=row["goal"],
        run_status=RunStatus(row["status"]),
        tenant_id=row["tenant_id"],
        state=state,
        plan_sha256=row["current_sha256"],
        opened_at=row["created_at"],
        deadline_at=row["deadline_at"],
        on_timeout=TimeoutOutcome(row["on_timeout"]),
        form=form,
        approvals=Approvals(given=row["approvals_given"], required=required) if is_shared else None,
        decided_by=decided_by,
        answer=answer,
    )


def _outcome(connection: Connection, run: Run, gate: Row) -> tuple[GateState, str | None, dict[str, Any] | None]:
    if gate["purpose"] == PLAN_GATE:
        decided = gates.decision(connection, run.id)
        if decided is not None:
            if decided.decided_by == deadlines.ACTOR:
                return GateState.TIMED_OUT, decided.decided_by, None
            passed = decided.decision is Decision.APPROVED
            return GateState.PASSED if passed else GateState.REJECTED, decided.decided_by, None
    else:
        answered = answers.find(connection, run.id, gate["gate_key"])
        if answered is not None:
            state = GateState.TIMED_OUT if answered.answer is None else GateState.PASSED
            return state, answered.answered_by, answered.answer
    return GateState.ENDED if run.status.is_terminal else GateState.WAITING, None, None


def _stranded(connection: Connection) -> list[Stranded]:
    """Queued work by version and queue, where no worker of that version takes from that queue."""
    if not one(connection, "queues.exists", {})["exists"]:
        return []
    names = [row["application_name"].split(" ", 3) for row in connection.execute(query("doctor.workers"))]
    workers = Counter((name[1], name[3]) for name in names if len(name) == 4)
    return [
        Stranded(app_version=row["app_version"], queue_name=row["queue_name"], enqueued=row["enqueued"])
        for row in connection.execute(query("queues.versions"))
        if row["enqueued"] > 0 and not workers[row["queue_name"], row["app_version"]]
    ]
