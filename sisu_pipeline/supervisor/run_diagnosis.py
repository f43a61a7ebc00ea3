"""Why a run is not moving: one plain sentence, and the next command to type."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.identity import segment_workflow_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.runs import Run
from sisu_pipeline.supervisor import stack_health
from sisu_pipeline.supervisor.stack_health import QueueState
from sisu_pipeline.workflow.commands import checked_reference
from sql import query


@dataclass(frozen=True)
class Facts:
    """What is known about a run at one moment."""

    run: Run
    decision: str | None
    """Who decided what, in words; None while nobody has."""
    requested_s: float | None
    """Seconds since the current segment was asked for; None when nobody has."""
    segment_status: str | None
    """DBOS's status of the current segment; None when it was never enqueued."""
    is_held: bool
    """Whether a worker holds the intent's lock."""
    dagster_status: str | None
    tasks_total: int | None
    tasks_finished: int
    daemon_beats: bool
    intent_workers: int
    sandbox_workers: int


@dataclass(frozen=True)
class Diagnosis:
    """What a run waits for, and what to do about it."""

    sentence: str
    command: str


def gather(connection: Connection, run_reference: str) -> Facts:
    """The facts about a run, by run id or workflow id. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    decided = gates.decision(connection, run.id)
    requested = connection.execute(query("doctor.requested"), {"run_id": run.id}).fetchone()
    tasks = connection.execute(query("views.tasks"), {"run_id": run.id}).fetchone()
    segment = segment_workflow_id(run.workflow_id, run.segment)
    queues = stack_health.queue_states(connection)
    assert requested is not None and tasks is not None
    return Facts(
        run=run,
        decision=None if decided is None else f"{decided.decision} by {decided.decided_by}",
        requested_s=requested["seconds"],
        segment_status=_status(connection, "dbos.workflow_status", "doctor.segment", workflow_id=segment),
        is_held=connection.execute(query("segments.holder"), {"workflow_id": run.workflow_id}).fetchone()
        is not None,
        dagster_status=_status(connection, "dagster.runs", "doctor.dagster_run", dagster_run_id=run.dagster_run_id),
        tasks_total=tasks["total"],
        tasks_finished=tasks["finished"],
        daemon_beats=stack_health.daemon(connection).ok,
        intent_workers=_workers(queues, QueueName.INTENT, run.app_version),
        sandbox_workers=_workers(queues, QueueName.SANDBOX, run.app_version),
    )


def diagnose(facts: Facts) -> Diagnosis:
    """The one thing that keeps the run where it is. Pure."""
    run = facts.run
    if run.status.is_terminal:
        return _ended(run)
    if run.status is RunStatus.WAITING_INPUT and facts.decision is None:
        return Diagnosis("It waits for a person to decide about its plan.", f"sisu run approve {run.id}")
    if facts.segment_status in ("ENQUEUED", "DELAYED"):
        return _enqueued(facts)
    if facts.segment_status == "PENDING":
        return _executing(facts)
    if facts.segment_status is None:
        return _unasked(facts)
    return _executed(facts)


def _ended(run: Run) -> Diagnosis:
    if run.status is RunStatus.SUCCEEDED:
        return Diagnosis("It has succeeded: there is nothing left to do.", f"sisu run show {run.id}")
    return Diagnosis(f"It has ended {run.status}: {run.error or 'no reason is kept'}.", f"sisu run show {run.id}")


def _executed(facts: Facts) -> Diagnosis:
    run = facts.run
    if facts.dagster_status is None:
        return Diagnosis(
            f"Its Dagster run {run.dagster_run_id} is gone (deleted, or `sisu db sys-reset`), so nothing goes on "
            "with it. Its rows stay; submit it again with something in its inputs that distinguishes it.",
            f"sisu run cancel {run.id}",
        )
    return Diagnosis(
        f"Its segment {run.segment} ended ({facts.segment_status}) but the run is still {run.status}; "
        f"Dagster says {facts.dagster_status}. Recovery asks for its next segment within seconds.",
        f"sisu run watch {run.id}",
    )


def _unasked(facts: Facts) -> Diagnosis:
    run = facts.run
    what = (
        "It is queued"
        if run.dagster_run_id is None
        else f"It was {facts.decision}"
        if facts.decision
        else "It waits"
    )
    if not facts.daemon_beats:
        return Diagnosis(f"{what}, and no sensor daemon runs to go on with it.", "sisu start")
    if facts.requested_s is None:
        return Diagnosis(
            f"{what}; the sensor asks for its next segment within a second.", f"sisu run watch {run.id}"
        )
    return Diagnosis(
        f"{what}; Dagster was asked {facts.requested_s:.0f} s ago and has not enqueued segment {run.segment} yet.",
        f"sisu run watch {run.id}",
    )


def _enqueued(facts: Facts) -> Diagnosis:
    run = facts.run
    where = f"Its segment {run.segment} waits on intentQ (version {run.app_version})"
    if facts.intent_workers == 0:
        return Diagnosis(
            f"{where}, and no intent worker of that version runs.",
            f"DBOS__APPVERSION={run.app_version} sisu worker --queue intentQ",
        )
    return Diagnosis(
        f"{where}: {facts.intent_workers} worker(s) are busy, or partition {run.queue_partition_key} is full.",
        "sisu doctor",
    )


def _executing(facts: Facts) -> Diagnosis:
    run = facts.run
    if not facts.is_held:
        return Diagnosis(
            f"The worker of its segment {run.segment} has died or has only just begun; recovery takes it over.",
            f"sisu run watch {run.id}",
        )
    if facts.tasks_total is not None and facts.tasks_finished < facts.tasks_total:
        counted = f"{facts.tasks_finished} of {facts.tasks_total} tasks have their result"
        if facts.sandbox_workers == 0:
            return Diagnosis(
                f"{counted}, and no sandbox worker of version {run.app_version} runs.",
                f"DBOS__APPVERSION={run.app_version} sisu worker --queue sbxQ",
            )
        return Diagnosis(f"It is executing: {counted}.", f"sisu run watch {run.id}")
    return Diagnosis(
        f"A worker is at it; the last step committed is {run.last_step or 'none'}.", f"sisu run watch {run.id}"
    )


def _status(connection: Connection, table: str, statement: str, **parameters: str | None) -> str | None:
    if not stack_health.exists(connection, table):
        return None
    row = connection.execute(query(statement), parameters).fetchone()
    return None if row is None else str(row["status"])


def _workers(queues: tuple[QueueState, ...], queue: QueueName, version: str) -> int:
    return sum(state.workers for state in queues if state.queue == queue and state.version == version)
