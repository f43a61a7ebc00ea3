"""The executor of a segment: steps on threads, a stop at an undecided gate, and a start from the event log.

It is one of Dagster's executors, usable wherever a job asks for it. Suspending needs a run driver that
knows about it (`worker.py`), which says so through `Gatekeeper`; without one, a gated step is started and
finds for itself that nobody has decided (portable profile).
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor.base import Executor

from sisu_pipeline.ops import GATE_TAG
from sisu_pipeline.settings import settings

_CHECK_SECONDS = 0.5
"""How often a segment that only waits looks whether its run was ended."""


class Suspended(Exception):
    """Only gated steps are left, and the gate is undecided: the segment ends here, the run does not."""


class Ended(Exception):
    """The run was ended from outside; no step is started any more."""


@dataclass(frozen=True)
class Gatekeeper:
    """What the driver knows: may this gate pass, may this segment let go, has the run been ended?"""

    is_decided: Callable[[], bool]
    suspend: Callable[[], bool]
    is_ended: Callable[[], bool]


gatekeeper: ContextVar[Gatekeeper | None] = ContextVar("gatekeeper", default=None)

_StepEvent = tuple[str, DagsterEvent | None]


class SegmentExecutor(Executor):
    """Runs a plan's steps on `threads` threads of this process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @property
    def retries(self) -> RetryMode:
        """Steps may be retried by their own policy."""
        return RetryMode.ENABLED

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """Steps wait for their upstream steps' success."""
        return StepDependencyConfig.default()

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Every event of the segment. Raises Suspended or Ended."""
        prior = _events_to_replay(plan_context) if plan_context.resume_from_failure else None

        def steps(job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
            return _run_steps(job_context, execution_plan, self.threads, prior)

        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=steps,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )


@dg.executor(name="segments", requirements=[])
def segment_executor(_context: dg.InitExecutorContext) -> SegmentExecutor:
    """Steps on `SISU_STEP_THREADS` threads."""
    return SegmentExecutor(settings().sisu_step_threads)


@dataclass
class _Segment:
    """The steps in flight and held, and the queue their events come through."""

    job_context: PlanExecutionContext
    active: ActiveExecution
    pool: ThreadPoolExecutor
    keeper: Gatekeeper | None
    events: "queue.SimpleQueue[_StepEvent]" = field(default_factory=queue.SimpleQueue)
    running: set[str] = field(default_factory=set)
    held: list[ExecutionStep] = field(default_factory=list)

    def start(self, step: ExecutionStep) -> None:
        """Start a step on a thread, or hold it when its gate is undecided."""
        if GATE_TAG in step.tags and self.keeper is not None and not self.keeper.is_decided():
            self.held.append(step)
            return
        self.running.add(step.key)
        context = self.job_context.for_step(step, self.active.get_known_state())
        self.pool.submit(self._work, step.key, context)

    def _work(self, key: str, context: dg.StepExecutionContext) -> None:
        try:
            for event in dagster_event_sequence_for_step(context):
                self.events.put((key, event))
        finally:
            self.events.put((key, None))

    def release_or_suspend(self) -> None:
        """Nothing runs and steps are held: let go, unless a decision came meanwhile. Raises Suspended."""
        assert self.keeper is not None
        if self.keeper.suspend():
            self.active.mark_interrupted()
            raise Suspended
        steps, self.held = self.held, []
        for step in steps:
            self.start(step)

    def next_events(self) -> Iterator[DagsterEvent]:
        """Wait for an event and take all that are there. Raises Ended when the run was ended meanwhile."""
        try:
            key, event = self.events.get(timeout=_CHECK_SECONDS)
        except queue.Empty:
            self.check_ended()
            return
        while True:
            if event is None:
                self.running.discard(key)
                self.active.verify_complete(self.job_context, key)
            else:
                yield event
                self.active.handle_event(event)
            try:
                key, event = self.events.get_nowait()
            except queue.Empty:
                return

    def check_ended(self) -> None:
        """Raise Ended when the run was ended from outside or this process was asked to stop."""
        if self.active.check_for_interrupts() or (self.keeper is not None and self.keeper.is_ended()):
            self.active.mark_interrupted()
            raise Ended


def _run_steps(
    job_context: PlanExecutionContext,
    execution_plan: ExecutionPlan,
    threads: int,
    prior: Sequence[DagsterEvent] | None,
) -> Iterator[DagsterEvent]:
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="step") as pool,
        execution_plan.start(retry_mode=job_context.retry_mode, max_concurrent=threads) as active,
    ):
        segment = _Segment(job_context, active, pool, gatekeeper.get())
        # Steps that were in flight when the last segment ended are started again: their rows answer for
        # what they had finished.
        again = [] if prior is None else active.rebuild_from_events(prior)
        for step in again:
            segment.start(step)
        yield from active.plan_events_iterator(job_context)
        while not active.is_complete:
            room = threads - len(segment.running)
            for step in active.get_steps_to_execute(limit=room) if room > 0 else []:
                segment.start(step)
            if segment.running:
                yield from segment.next_events()
            elif segment.held:
                segment.release_or_suspend()
            else:
                segment.check_ended()
                active.sleep_til_ready()
            yield from active.plan_events_iterator(job_context)


_REPLAYED = {
    DagsterEventType.STEP_OUTPUT,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
}


def _events_to_replay(plan_context: PlanOrchestrationContext) -> list[DagsterEvent]:
    """The log's events of steps that ended. A step cut off half-way starts over, so its outputs are left out."""
    log = plan_context.instance.all_logs(plan_context.run_id, of_type=_REPLAYED)
    events = [record.dagster_event for record in log if record.dagster_event is not None]
    ended = {event.step_key for event in events if event.is_step_success or event.is_step_failure}
    return [event for event in events if event.step_key in ended or event.is_step_up_for_retry]
