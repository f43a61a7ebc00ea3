"""Diagnosis of a run: one sentence about what it waits for, and the next command to run."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.domain.identity import checked_reference, segment_workflow_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import Settings
from sisu_pipeline.store import gates, runs, tasks
from sisu_pipeline.store.queues import engine_tables, outbox, partition_limits, queue_depth, segments, versions
from sisu_pipeline.store.runs import Run
from sisu_pipeline.supervisor import stack_health


@dataclass(frozen=True)
class Facts:
    """The state of a run and of what executes it, at one moment."""

    run: Run
    decision: str | None
    """The decision and its author; None while the plan is undecided."""
    requested_s: float | None
    """Seconds since the current segment was requested; None when it was not."""
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
    stopped_sensors: tuple[str, ...] = ()
    """The sensors that an operator has stopped in Dagster."""
    limit: str | None = None
    """The limit of its queue partition that the run waits for; None when no limit is the reason."""
    successor: str | None = None
    """The version whose workers finish the run, if an operator has declared a successor of its own."""

    @property
    def version(self) -> str:
        """The version whose workers take the run's work."""
        return self.successor or self.run.app_version


@dataclass(frozen=True)
class Diagnosis:
    """What a run waits for, and the next command to run."""

    sentence: str
    command: str


def gather(connection: Connection, run_reference: str, configuration: Settings) -> Facts:
    """Collect the facts about a run, by run id or workflow id. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    decided = gates.decision(connection, run.id)
    progress = tasks.progress(connection, run.id)
    queues = queue_depth.queue_states(connection)
    version = versions.serving(connection, run.app_version)
    intent_workers, sandbox_workers = queue_depth.workers_by_queue(queues, version)
    return Facts(
        run=run,
        decision=None if decided is None else f"{decided.decision} by {decided.decided_by}",
        requested_s=outbox.seconds_since_request(connection, run.id),
        segment_status=engine_tables.workflow_status(connection, segment_workflow_id(run.workflow_id, run.segment)),
        is_held=segments.holder(connection, run.workflow_id) is not None,
        dagster_status=engine_tables.dagster_run_status(connection, run.dagster_run_id),
        tasks_total=progress.total,
        tasks_finished=progress.finished,
        daemon_beats=stack_health.daemon(connection).ok,
        intent_workers=intent_workers,
        sandbox_workers=sandbox_workers,
        stopped_sensors=tuple(engine_tables.stopped_sensors(connection)),
        limit=None
        if run.status.is_terminal
        else partition_limits.waited_for(connection, run.id, configuration.start_limit),
        successor=None if version == run.app_version else version,
    )


def diagnose(facts: Facts) -> Diagnosis:
    """Why the run is where it is."""
    run = facts.run
    if run.status.is_terminal:
        return _ended(run)
    if run.status is RunStatus.WAITING_INPUT and facts.decision is None:
        return _waiting(run)
    if facts.segment_status in ("ENQUEUED", "DELAYED"):
        return _enqueued(facts)
    if facts.segment_status == "PENDING":
        return _executing(facts)
    if facts.segment_status is None:
        return _not_enqueued(facts)
    return _executed(facts)


def _ended(run: Run) -> Diagnosis:
    if run.status is RunStatus.SUCCEEDED:
        return Diagnosis("It has succeeded.", f"sisu run show {run.id}")
    return Diagnosis(
        f"It has ended as {run.status}: {run.error or 'no reason is recorded'}.", f"sisu run show {run.id}"
    )


def _executed(facts: Facts) -> Diagnosis:
    run = facts.run
    if facts.dagster_status is None:
        return Diagnosis(
            f"Its Dagster run {run.dagster_run_id} no longer exists (deleted, or `sisu db sys-reset`), so the run "
            "cannot continue. Its rows stay; submit the intent again with a difference in its inputs.",
            f"sisu run cancel {run.id}",
        )
    return Diagnosis(
        f"Its segment {run.segment} ended ({facts.segment_status}) but the run is still {run.status}; "
        f"its Dagster run is {facts.dagster_status}. Recovery enqueues its next segment within seconds.",
        f"sisu run watch {run.id}",
    )


def _not_enqueued(facts: Facts) -> Diagnosis:
    run = facts.run
    what = (
        "It is queued"
        if run.dagster_run_id is None
        else f"It was {facts.decision}"
        if facts.decision
        else "It waits"
    )
    if not facts.daemon_beats:
        return Diagnosis(
            f"{what}, and no sensor daemon is running that would enqueue its next segment.", "sisu start"
        )
    sensor = "intent_sensor" if run.dagster_run_id is None else "approval_sensor"
    if sensor in facts.stopped_sensors:
        return Diagnosis(
            f"{what}, and {sensor}, which would enqueue its next segment, is stopped in Dagster: start it on the "
            "page Automation.",
            "sisu doctor",
        )
    if facts.limit is not None:
        return Diagnosis(f"{what} for a limit: {facts.limit}.", "sisu doctor --settings")
    if facts.requested_s is None:
        return Diagnosis(
            f"{what}; the sensor requests its next segment within a second.", f"sisu run watch {run.id}"
        )
    return Diagnosis(
        f"{what}; segment {run.segment} was requested {facts.requested_s:.0f} s ago and is not enqueued yet.",
        f"sisu run watch {run.id}",
    )


def _waiting(run: Run) -> Diagnosis:
    if run.next_action == "PLAN":
        return Diagnosis("It waits for the plan of a coding agent.", "sisu doctor")
    return Diagnosis("It waits for approval of its plan.", f"sisu run approve {run.id}")


def _enqueued(facts: Facts) -> Diagnosis:
    run = facts.run
    where = f"Its segment {run.segment} waits on intentQ (version {facts.version})"
    if facts.intent_workers == 0:
        return Diagnosis(
            f"{where}, and no intent worker of that version is running.",
            f"DBOS__APPVERSION={facts.version} sisu worker --queue intentQ",
        )
    if facts.limit is not None:
        return Diagnosis(f"{where}: {facts.limit}.", "sisu doctor --settings")
    return Diagnosis(f"{where}: all {facts.intent_workers} worker(s) are busy.", "sisu doctor")


def _executing(facts: Facts) -> Diagnosis:
    run = facts.run
    if not facts.is_held:
        return Diagnosis(
            f"The worker of its segment {run.segment} has just started, or it has died and recovery requeues it.",
            f"sisu run watch {run.id}",
        )
    if facts.tasks_total is not None and facts.tasks_finished < facts.tasks_total:
        counted = f"{facts.tasks_finished} of {facts.tasks_total} tasks are finished"
        if facts.sandbox_workers == 0:
            return Diagnosis(
                f"{counted}, and no sandbox worker of version {facts.version} is running.",
                f"DBOS__APPVERSION={facts.version} sisu worker --queue sbxQ",
            )
        if facts.limit is not None:
            return Diagnosis(f"{counted}, and others wait for a limit: {facts.limit}.", "sisu doctor --settings")
        return Diagnosis(f"It is executing: {counted}.", f"sisu run watch {run.id}")
    return Diagnosis(
        f"A worker executes it; the last committed step is {run.last_step or 'none'}.", f"sisu run watch {run.id}"
    )
