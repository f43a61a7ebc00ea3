"""The executor of a segment: steps on threads, a stop at an undecided gate, and a start from the event log.

It is one of Dagster's executors, usable wherever a job asks for it. Suspending needs a run driver that
knows about it (`worker.py`), which says so through `Gatekeeper`; without one, a gated step is started and
finds for itself that nobody has decided (portable profile).
"""

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
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

from sisu_pipeline.defs.step_ops import GATE_TAG
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
    """From outside, that is: a run that its own steps end is let finish."""


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
        prior = _step_events(plan_context) if plan_context.resume_from_failure else None

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

    def rebuild(self, log: Sequence[DagsterEvent]) -> list[ExecutionStep]:
        """Replay what earlier segments logged; returns the steps that were in flight when the last one ended.

        They are started again: their rows answer for what they had finished. Dagster's own replay forgets
        the steps that end without being started, and those that wait for them.
        """
        skipped = {event.step_key for event in log if event.is_step_skipped}
        self._settle(skipped)
        for event in _to_replay(log):
            self.active.handle_event(event)
            self._settle(skipped)
        return list(self.active.rebuild_from_events([]))

    def _settle(self, skipped: Collection[str | None]) -> None:
        while steps := self.active.get_steps_to_skip():
            for step in steps:
                if step.key not in skipped:  # else the log says so already
                    DagsterEvent.step_skipped_event(self.job_context.for_step(step))
                self.active.mark_skipped(step.key)
        while steps := self.active.get_steps_to_abandon():
            for step in steps:
                self.active.mark_abandoned(step.key)
        self.active.get_steps_to_execute()

    def start(self, step: ExecutionStep) -> None:
        """Start a step on a thread, or hold it when its gate is undecided."""
        if GATE_TAG in step.tags and self.keeper is not None and not self.keeper.is_decided():
            self.held.append(step)
        else:
            self._submit(step)

    def _submit(self, step: ExecutionStep) -> None:
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
        self.check_ended()
        # Decided meanwhile, or over without a decision: the steps find out which, and none is held twice.
        steps, self.held = self.held, []
        for step in steps:
            self._submit(step)

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

    def rest(self, seconds: float) -> None:
        """Wait for a retry's time; nothing runs that could say anything."""
        threading.Event().wait(seconds)

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
        # The limit is kept here, not there: a log tells of more steps at once when it had more threads.
        execution_plan.start(retry_mode=job_context.retry_mode) as active,
    ):
        segment = _Segment(job_context, active, pool, gatekeeper.get())
        ready = [] if prior is None else segment.rebuild(prior)
        yield from active.plan_events_iterator(job_context)
        while not active.is_complete:
            room = threads - len(segment.running)
            ready += active.get_steps_to_execute(limit=room)
            for step in ready[:room]:
                segment.start(step)
            del ready[:room]
            pause = active.sleep_interval()  # type: ignore[no-untyped-call]
            if segment.running:
                yield from segment.next_events()
            elif segment.held and not ready and not pause:
                segment.release_or_suspend()
            else:
                segment.check_ended()
                segment.rest(min(max(pause, 0), _CHECK_SECONDS))
            yield from active.plan_events_iterator(job_context)


_STARTS = (DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED)
_STEP_EVENTS = {
    *_STARTS,
    DagsterEventType.STEP_OUTPUT,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
}


def _step_events(plan_context: PlanOrchestrationContext) -> list[DagsterEvent]:
    log = plan_context.instance.all_logs(plan_context.run_id, of_type=_STEP_EVENTS)
    return [record.dagster_event for record in log if record.dagster_event is not None]


def _to_replay(log: Sequence[DagsterEvent]) -> list[DagsterEvent]:
    """Of a step that ended, what its last start led to; of one cut off half-way, only that it was tried before.

    A step may have been started several times: by its retry policy, and by each segment that was lost.
    """
    starts = {event.step_key: at for at, event in enumerate(log) if event.event_type in _STARTS}
    ended = {event.step_key for event in log if event.is_step_success or event.is_step_failure}
    replayed = []
    for at, event in enumerate(log):
        started = starts.get(event.step_key, -1)
        if event.step_key in ended:
            if at > started and not event.is_step_up_for_retry:
                replayed.append(event)
        elif event.is_step_up_for_retry:
            replayed.append(event if at > started else _without_delay(event))
    return replayed


def _without_delay(event: DagsterEvent) -> DagsterEvent:
    """A retry whose delay is over: it has been started since."""
    return event._replace(event_specific_data=event.step_retry_data._replace(seconds_to_wait=None))
