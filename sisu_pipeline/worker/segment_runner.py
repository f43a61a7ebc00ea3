"""One segment, from its queue to its end: the intent's lock and ownership, and the execution of its Dagster run."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg

from resources.database import Connection, Database
from resources.failure_classification import sentence_of
from resources.process_cache import once
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs.intent_partitions import INTENTS
from sisu_pipeline.defs.run_tags import PARTITION_TAG
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.domain.status import IllegalTransition, RunStatus
from sisu_pipeline.engine import run_driver
from sisu_pipeline.engine.event_batching import batched_events
from sisu_pipeline.engine.run_reports import report_failed
from sisu_pipeline.engine.step_executor import Gatekeeper
from sisu_pipeline.queueing import question_queue
from sisu_pipeline.queueing.segment_queue import SegmentRequest
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.queues import segments
from sisu_pipeline.workflow import commands, ownership
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.planning import agent_plans
from sisu_pipeline.workflow.run_failure import end_run

# Two Dagster runs in two threads of one process deadlock, because each configures logging when it starts.
_one_at_a_time = threading.Lock()

logger = logging.getLogger(__name__)


@once
def instance() -> dg.DagsterInstance:
    """The process's Dagster instance, from DAGSTER_HOME."""
    return dg.DagsterInstance.get()


@once
def repository() -> dg.RepositoryDefinition:
    """The definitions of the code location, loaded once."""
    from sisu_pipeline.definitions import defs

    return defs.get_repository_def()


def segment_request(*arguments: str | None) -> SegmentRequest:
    """The request in a row of the queue, from the arguments stored there.

    Rows that an earlier release enqueued hold the Dagster run's id alone; its partition is the intent's id.
    """
    match arguments:
        case (workflow_id, str(dagster_run_id)):
            return SegmentRequest(workflow_id, dagster_run_id)
        case (str(dagster_run_id),):
            dagster_run = instance().get_run_by_id(dagster_run_id)
            partition_key = None if dagster_run is None else dagster_run.tags.get(PARTITION_TAG)
            return SegmentRequest(partition_key, dagster_run_id)
        case _:
            raise ValueError(f"the row of a segment holds an intent's id and a Dagster run's (got {arguments!r})")


def run_segment(request: SegmentRequest) -> None:
    """Execute a Dagster run's next segment. Returns at its end, at a gate, or when there is nothing to do."""
    with _one_at_a_time:
        if request.workflow_id is None:
            _run_job(request.dagster_run_id)
        else:
            _run_intent(request.workflow_id, request.dagster_run_id)


def fail_segment(request: SegmentRequest, failure: Exception) -> None:
    """End the intent and the Dagster run of a segment that failed around its steps, so that nothing repeats it."""
    reason = f"its segment cannot be executed: {sentence_of(failure)}"
    logger.error("Dagster run %s: %s", request.dagster_run_id, reason)
    if request.workflow_id is not None:
        with suppress(NotFound):
            end_run(dependencies(), run_id_of(request.workflow_id), RunStatus.RETRIES_EXCEEDED, reason)
    report_failed(instance(), request.dagster_run_id, reason)


def _run_job(dagster_run_id: str) -> None:
    dagster_run = instance().get_run_by_id(dagster_run_id)
    if dagster_run is not None:
        run_driver.drive(instance(), repository(), dagster_run, _job_keeper(dagster_run_id))


def _run_intent(workflow_id: str, dagster_run_id: str) -> None:
    database = dependencies().database
    with holding(database, workflow_id), batched_events(instance()):
        dagster_run = instance().get_run_by_id(dagster_run_id)
        if dagster_run is None:
            return
        if dagster_run.status is dg.DagsterRunStatus.CANCELED:
            # A person marked the run as canceled in Dagster, without the launcher: the intent is canceled too.
            _cancel(database, workflow_id, dagster_run_id)
            return
        if dagster_run.is_finished:
            # The worker that ended it died before the queue recorded the end of the segment.
            return
        if not _enter(database, workflow_id, dagster_run_id):
            report_failed(instance(), dagster_run_id, "The intent was retried in another Dagster run.")
            return
        crash_point("segment.enter.after")
        _restore_partition(workflow_id)
        _ask_agent(workflow_id)
        keeper = _gatekeeper(database, workflow_id, dagster_run_id)
        run_driver.drive(instance(), repository(), dagster_run, keeper)
    crash_point("segment.end.before")


@contextmanager
def holding(database: Database, workflow_id: str) -> Iterator[Connection]:
    """Hold the intent's advisory lock, once the segment that holds it has released it.

    The lock belongs to a session of its own, which the database ends when this process dies.
    """
    with database.connect(autocommit=True) as session:
        crash_point("segment.lock.before")
        segments.lock(session, workflow_id)
        crash_point("segment.lock.after")
        yield session


def _cancel(database: Database, workflow_id: str, dagster_run_id: str) -> None:
    request = OperationRequest(actor="dagster", reason="the run was marked canceled")
    with database.connect() as connection, suppress(NotFound, IllegalTransition):
        if runs.get(connection, workflow_id).dagster_run_id == dagster_run_id:
            commands.cancel(connection, workflow_id, request, channel=Channel.DAGSTER)


def _enter(database: Database, workflow_id: str, dagster_run_id: str) -> bool:
    """Enter the intent; False when another Dagster run has it, or will have it."""
    try:
        return ownership.resume(database, workflow_id, dagster_run_id) is not None
    except NotFound:
        # A partition without a run: the first step fails for that reason and logs it.
        return True


def _restore_partition(workflow_id: str) -> None:
    """Add the intent's partition again when an operator has deleted it: its lineage is not complete."""
    assert INTENTS.name is not None
    if not instance().has_dynamic_partition(INTENTS.name, workflow_id):
        instance().add_dynamic_partitions(INTENTS.name, [workflow_id])


def _ask_agent(workflow_id: str) -> None:
    """Where a coding agent makes the plans, ask it for the run's; CompileST waits for the answer."""
    if not dependencies().asks_agent:
        return
    with suppress(NotFound):
        asked = agent_plans.ask(dependencies(), workflow_id)
        if asked is not None:
            run, question = asked
            question_queue.enqueue(dependencies().database, run, question.op_key)
            crash_point("question.enqueue.after")


def _gatekeeper(database: Database, workflow_id: str, dagster_run_id: str) -> Gatekeeper:
    def is_decided() -> bool:
        with database.connect() as connection:
            return gates.is_passed(connection, runs.get(connection, workflow_id))

    def is_ended() -> bool:
        with database.connect() as connection:
            if runs.get(connection, workflow_id).status is RunStatus.CANCELED:
                return True
        return _is_canceling(dagster_run_id)

    return Gatekeeper(is_decided, lambda: ownership.suspend(database, workflow_id), is_ended)


def _job_keeper(dagster_run_id: str) -> Gatekeeper:
    """The gatekeeper of a job without an intent: it has no gate, but it can be canceled."""
    return Gatekeeper(lambda: True, lambda: False, lambda: _is_canceling(dagster_run_id))


def _is_canceling(dagster_run_id: str) -> bool:
    run = instance().get_run_by_id(dagster_run_id)
    return run is None or run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
