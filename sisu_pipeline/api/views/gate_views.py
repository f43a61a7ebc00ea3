"""Views of gates, plans and the inbox, composed from records."""

from typing import Any

from resources.database import Connection
from sisu_pipeline.api.schemas.gate_schemas import (
    ActiveRun,
    ChangeRound,
    ChangeRounds,
    FileView,
    FinishedRun,
    Form,
    GateEntry,
    GateState,
    History,
    HistoryEvent,
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
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Change, changes_of
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.identity import checked_reference
from sisu_pipeline.store import (
    answers,
    bases,
    change_requests,
    deadlines,
    gates,
    human_gates,
    intents,
    plans,
    runs,
    steps,
)
from sisu_pipeline.store import interactions as ledger
from sisu_pipeline.store.change_requests import RoundOutcome
from sisu_pipeline.store.human_gates import HumanGate, ListedGate
from sisu_pipeline.store.queues import queue_depth
from sisu_pipeline.store.rules import quorum
from sisu_pipeline.store.rules.quorum import Tally
from sisu_pipeline.store.runs import Run

MAX_GATES = 200
MAX_COUNT = 10_000
MAX_RUNS = 12
MAX_INTERACTIONS = 500


def inbox(connection: Connection, starts: StartLimit | None = None) -> Inbox:
    """The open gates, the newest runs, and the work whose version has no worker.

    `starts` is the limit of intents that start, which a run may wait for.
    """
    waiting = human_gates.waiting(connection, MAX_GATES)
    tallies = quorum.tallies(connection, [gate.run_id for gate in waiting if is_shared(gate)])
    active = runs.active(connection, MAX_RUNS)
    finished = runs.finished(connection, MAX_RUNS)
    outcomes = run_views.outcomes(connection, finished)
    return Inbox(
        gates=[_entry(gate, tallies.get(gate.run_id), GateState.WAITING) for gate in waiting],
        gate_count=len(waiting) if len(waiting) < MAX_GATES else human_gates.count_waiting(connection, MAX_COUNT),
        active=[ActiveRun(**run_views.progress(connection, run, starts), goal=run.goal) for run in active],
        active_count=len(active) if len(active) < MAX_RUNS else runs.count_active(connection, MAX_COUNT),
        finished=[FinishedRun(**run_views.head(run), goal=run.goal, outcome=outcomes[run.id]) for run in finished],
        stranded=_stranded(connection),
        now=steps.now(connection),
    )


def of_run(connection: Connection, run_reference: str) -> list[GateEntry]:
    """A run's gates. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    goal = intents.get(connection, run.intent_id).goal
    edited = plans.edited_hash(connection, run.id)
    tally = quorum.tally(connection, run.id)
    shown = []
    for gate in human_gates.of_run(connection, run.id):
        current = edited or gate.plan_sha256
        listed = ListedGate(
            **vars(gate),
            workflow_id=run.workflow_id,
            status=run.status,
            tenant_id=run.tenant_id,
            goal=goal,
            current_sha256=current,
            approvals_required=tally.required,
            form_fields=intents.form_fields(connection, run.intent_id) if gate.is_ask_gate else None,
        )
        rounds = _rounds(connection, run.id) if gate.is_plan_gate else None
        shown.append(_entry(listed, tally, *_outcome(connection, run, gate, rounds), rounds))
    return shown


def of_key(connection: Connection, run_reference: str, gate_key: str) -> GateEntry:
    """One gate. Raises NotFound."""
    for entry in of_run(connection, run_reference):
        if entry.gate_key == gate_key:
            return entry
    raise NotFound("gate not found")


def plan(connection: Connection, run_reference: str) -> PlanView:
    """The current plan of a run. Raises NotFound before there is one."""
    run = runs.get(connection, checked_reference(run_reference))
    version = plans.current(connection, run.id)
    read = version.read()
    files = bases.files(connection, run.id, intents.get(connection, run.intent_id))
    return PlanView(
        run_id=run.id,
        version=version.number,
        plan_sha256=version.sha256,
        plan=read,
        complete=plans.complete(connection, run.id, version.number),
        patches=[_patch(change) for change in changes_of(read, files)],
        versions=[PlanVersionView(**vars(edit)) for edit in plans.edits(connection, run.id)],
    )


def _rounds(connection: Connection, run_id: str) -> ChangeRounds:
    made = [
        ChangeRound(
            round=request.round,
            requested_by=request.requested_by,
            comment=request.comment,
            channel=request.channel,
            requested_at=request.requested_at,
            plan_sha256=request.plan_sha256,
            outcome=request.outcome,
            error=request.error,
            version=request.version,
        )
        for request in change_requests.of_run(connection, run_id)
    ]
    return ChangeRounds(allowed=change_requests.most(connection, run_id), rounds=made)


def _patch(change: Change) -> PatchView:
    return PatchView(
        target_path=change.path,
        op=change.op,
        from_path=change.from_path,
        old=_file(change.old),
        new=_file(change.new),
        before=None if change.old is None else change.old.text,
        after=None if change.new is None else change.new.text,
        diff_text=change.diff,
        remarks=change.remarks,
    )


def _file(state: FileState | None) -> FileView | None:
    if state is None:
        return None
    return FileView(
        mode=state.mode,
        bytes=len(state.content),
        sha256=sha256_hex(state.content),
        is_binary=state.text is None,
    )


def interactions(connection: Connection, run_reference: str) -> Interactions:
    """The decisions and answers at a run's gates. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    found = ledger.of_run(connection, run.id, MAX_INTERACTIONS)
    return Interactions(interactions=[InteractionView(**vars(interaction)) for interaction in found])


def history(connection: Connection, run_reference: str) -> History:
    """Every change of a run from its submission on. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    found = ledger.history(connection, run.id, MAX_INTERACTIONS)
    return History(events=[HistoryEvent(**vars(event)) for event in found])


def is_shared(gate: ListedGate) -> bool:
    """Whether several people have to approve at this gate."""
    return gate.is_plan_gate and gate.approvals_required > 1


def _entry(
    gate: ListedGate,
    tally: Tally | None,
    state: GateState,
    decided_by: str | None = None,
    answer: dict[str, Any] | None = None,
    rounds: ChangeRounds | None = None,
) -> GateEntry:
    return GateEntry(**entry_members(gate, tally, state), decided_by=decided_by, answer=answer, changes=rounds)


def entry_members(gate: ListedGate, tally: Tally | None, state: GateState) -> dict[str, Any]:
    """The members that every entry of a gate has."""
    is_counted = tally is not None and is_shared(gate)
    approvals = Approvals(given=tally.given, required=tally.required) if tally and is_counted else None
    return {
        "run_id": gate.run_id,
        "workflow_id": gate.workflow_id,
        "gate_key": gate.gate_key,
        "purpose": gate.purpose,
        "goal": gate.goal,
        "run_status": gate.status,
        "tenant_id": gate.tenant_id,
        "state": state,
        "plan_sha256": gate.current_sha256,
        "opened_at": gate.created_at,
        "deadline_at": gate.deadline_at,
        "on_timeout": gate.on_timeout,
        "form": None if gate.form is None else _form(gate.form, gate.form_fields or []),
        "approvals": approvals,
    }


def _form(form: dict[str, Any], order: list[str]) -> Form:
    """A form whose fields are in the order of the intent; the question may be the planner's, which has none."""
    names = form["schema"].get("properties", {})
    fields = [*(name for name in order if name in names), *(name for name in names if name not in order)]
    return Form(question=form["question"], answer_schema=form["schema"], fields=fields)


def _outcome(
    connection: Connection, run: Run, gate: HumanGate, rounds: ChangeRounds | None
) -> tuple[GateState, str | None, dict[str, Any] | None]:
    """The state of a gate, who decided or answered, and the answer."""
    if gate.is_plan_gate:
        decided = gates.decision(connection, run.id)
        if decided is not None:
            if decided.decided_by == deadlines.ACTOR:
                return GateState.TIMED_OUT, decided.decided_by, None
            passed = decided.decision is Decision.APPROVED
            return GateState.PASSED if passed else GateState.REJECTED, decided.decided_by, None
    else:
        answered = answers.find(connection, run.id, gate.gate_key)
        if answered is not None:
            state = GateState.TIMED_OUT if answered.answer is None else GateState.PASSED
            return state, answered.answered_by, answered.answer
    if run.status.is_terminal:
        return GateState.ENDED, None, None
    is_planning = rounds is not None and any(each.outcome is RoundOutcome.PLANNING for each in rounds.rounds)
    return GateState.PLANNING if is_planning else GateState.WAITING, None, None


def _stranded(connection: Connection) -> list[Stranded]:
    return [
        Stranded(app_version=state.version, queue_name=state.queue, enqueued=state.enqueued)
        for state in queue_depth.queue_states(connection)
        if state.is_stranded
    ]
