"""One segment of a Dagster run: start or resume it, execute its steps, then end or suspend it."""

import sys
from collections.abc import Iterator

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events import EngineEventData, RunFailureReason
from dagster._core.execution.api import ExecuteRunWithPlanIterable, _get_execution_plan_from_run
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.context_creation_job import (
    PlanOrchestrationContextManager,
    orchestration_context_event_generator,
)
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy.exc import DBAPIError

from resources import connection_fence
from sisu_pipeline.engine.step_executor import Ended, Gatekeeper, Suspended, gatekeeper

_STARTABLE = frozenset({DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING})


def drive(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    run: dg.DagsterRun,
    keeper: Gatekeeper | None,
) -> None:
    """Execute a segment of the run to its end. Does nothing to a run that has ended."""
    if run.is_finished:
        return
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
        return
    token = gatekeeper.set(keeper)
    try:
        _execute(instance, _job_of(repository, run), run)
    finally:
        gatekeeper.reset(token)


def _job_of(repository: dg.RepositoryDefinition, run: dg.DagsterRun) -> InMemoryJob:
    job = InMemoryJob(repository.get_job(run.job_name))
    if run.asset_selection is not None or run.asset_check_selection is not None or run.resolved_op_selection:
        return job.get_subset(
            op_selection=run.resolved_op_selection,
            asset_selection=run.asset_selection,
            asset_check_selection=run.asset_check_selection,
        )
    return job


def _execute(instance: dg.DagsterInstance, job: InMemoryJob, run: dg.DagsterRun) -> None:
    plan = _get_execution_plan_from_run(job, run, instance)
    events = ExecuteRunWithPlanIterable(
        execution_plan=plan,
        iterator=_segment,
        execution_context_manager=PlanOrchestrationContextManager(
            context_event_generator=orchestration_context_event_generator,
            job=job,
            execution_plan=plan,
            dagster_run=run,
            instance=instance,
            run_config=run.run_config,
            raise_on_error=False,
            executor_defs=None,
            output_capture=None,
            resume_from_failure=run.status not in _STARTABLE,
        ),
    )
    for _ in events:
        pass


def _segment(job_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
    """The job's events, in Dagster's own order, with suspension as a third end beside success and failure.

    Dagster defines and shows the status `SUSPENDED` ("waiting on external work with no run worker, on purpose"),
    but never sets it: the component that can resume the run does.
    """
    if not job_context.resume_from_failure:
        yield DagsterEvent.job_start(job_context)
    elif job_context.dagster_run.status is DagsterRunStatus.SUSPENDED:
        yield DagsterEvent.job_resumed(job_context)
    else:
        yield DagsterEvent.engine_event(job_context, "Taken over from a worker that was lost.", EngineEventData())
    failed = _failures_before(job_context) if job_context.resume_from_failure else []
    try:
        for event in job_context.executor.execute(job_context, execution_plan):
            if event.is_step_failure:
                failed.append(event)
            yield event
    except Suspended:
        message = "Waiting for a person's decision. No process, thread or slot is held."
        yield DagsterEvent.job_suspended(job_context, message)
    except Ended:
        yield DagsterEvent.job_canceled(job_context, None)
    except Exception as failure:
        yield _broken_off(job_context, failure)
    else:
        yield _end(job_context, failed)


def _broken_off(job_context: PlanOrchestrationContext, failure: Exception) -> DagsterEvent:
    """The event that ends a run whose segment raised. A worker that lost its database exits instead."""
    if isinstance(failure, DBAPIError) and failure.connection_invalidated:
        connection_fence.connection_broke()
    error = serializable_error_info_from_exc_info(sys.exc_info())
    return _failure(job_context, "The segment failed.", None, error)


def _end(job_context: PlanOrchestrationContext, failed: list[DagsterEvent]) -> DagsterEvent:
    """The event that ends a run whose steps have all been executed or skipped."""
    if not failed:
        return DagsterEvent.job_success(job_context)
    if _was_ended():
        # The steps failed because the run had been ended.
        return DagsterEvent.job_canceled(job_context, None)
    keys = [event.step_key for event in failed]
    return _failure(job_context, f"Steps failed: {keys}.", failed[0], None)


def _was_ended() -> bool:
    keeper = gatekeeper.get()
    return keeper is not None and keeper.is_ended()


def _failures_before(job_context: PlanOrchestrationContext) -> list[DagsterEvent]:
    """The failures of earlier segments, which fail the run like those of this one."""
    log = job_context.instance.all_logs(job_context.run_id, of_type=DagsterEventType.STEP_FAILURE)
    return [record.dagster_event for record in log if record.dagster_event is not None]


def _failure(
    job_context: PlanOrchestrationContext,
    message: str,
    first: DagsterEvent | None,
    error: SerializableErrorInfo | None,
) -> DagsterEvent:
    reason = RunFailureReason.STEP_FAILURE if first else RunFailureReason.UNEXPECTED_TERMINATION
    return DagsterEvent.job_failure(
        job_context, message, failure_reason=reason, error_info=error, first_step_failure_event=first
    )
