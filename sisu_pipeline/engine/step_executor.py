"""The executor of a segment: steps on threads, a stop at a closed gate, and a start from the event log.

It is a Dagster executor that any job can use. Only `run_driver.py` can suspend a run: it sets `gatekeeper`, whose
functions `worker/segment_runner.py` provides. Without a gatekeeper (another run launcher), gated steps start at
once and must check their gate themselves.
"""

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, Executor
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig

from sisu_pipeline.defs.step_ops import GATE_TAG
from sisu_pipeline.settings import settings

_CHECK_SECONDS = 0.5
"""How often a segment without new events checks whether its run was ended."""


class Suspended(Exception):
    """Only steps behind a closed gate are left: the segment ends here, the run does not."""


class Ended(Exception):
    """The run was ended from outside; no further step starts."""


@dataclass(frozen=True)
class Gatekeeper:
    """What the executor must know about the run beyond Dagster: its gate, and whether it was ended."""

    is_decided: Callable[[], bool]
    """Whether the run may pass its current gate."""
    suspend: Callable[[], bool]
    """Record that the run waits at its gate. False when the gate was passed meanwhile, or the run has ended."""
    is_ended: Callable[[], bool]
    """Whether the run was ended from outside. A run that its own steps end is executed to its end."""


gatekeeper: ContextVar[Gatekeeper | None] = ContextVar("gatekeeper", default=None)

_StepEvent = tuple[str, DagsterEvent | None]


class SegmentExecutor(Executor):
    """Executes a plan's steps on `threads` threads of this process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @property
    def retries(self) -> RetryMode:
        """Steps are retried by their own policies."""
        return RetryMode.ENABLED

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """Steps wait for their upstream steps' success."""
        return StepDependencyConfig.default()

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Execute the segment and yield its events. Raises Suspended or Ended."""
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
    """Execute steps on `SISU_STEP_THREADS` threads."""
    return SegmentExecutor(settings().sisu_step_threads)


@dataclass
class _Segment:
    """The running steps, the steps held at a gate, and the queue of their events."""

    job_context: PlanExecutionContext
    active: ActiveExecution
    pool: ThreadPoolExecutor
    keeper: Gatekeeper | None
    events: "queue.SimpleQueue[_StepEvent]" = field(default_factory=queue.SimpleQueue)
    running: set[str] = field(default_factory=set)
    held: list[ExecutionStep] = field(default_factory=list)

    def rebuild(self, log: Sequence[DagsterEvent]) -> list[ExecutionStep]:
        """Replay the log of earlier segments; return the steps that were running when the last one ended.

        Those steps are started again and return what they have stored. `_settle` follows each event, because
        Dagster's own replay loses the steps that end without having been started, and those that wait for them.
        """
        skipped = {event.step_key for event in log if event.is_step_skipped}
        self._settle(skipped)
        for event in _to_replay(log):
            self.active.handle_event(event)
            self._settle(skipped)
        return list(self.active.rebuild_from_events([]))

    def _settle(self, skipped: Collection[str | None]) -> None:
        """End the steps that can no longer start, and count those that can start now as running.

        A step is skipped when an optional output it needs was not produced, and abandoned when a step it needs
        failed; each of these can end further steps. `skipped` names the steps whose skip is in the log already.
        As in Dagster's own replay, a startable step is taken as started: either its events follow in the log, or
        it is among the steps that `rebuild` returns.
        """
        while steps := self.active.get_steps_to_skip():
            for step in steps:
                if step.key not in skipped:
                    DagsterEvent.step_skipped_event(self.job_context.for_step(step))
                self.active.mark_skipped(step.key)
        while steps := self.active.get_steps_to_abandon():
            for step in steps:
                self.active.mark_abandoned(step.key)
        self.active.get_steps_to_execute()

    def start(self, step: ExecutionStep) -> None:
        """Start a step on a thread, or hold it while its gate is closed."""
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
        """Suspend the run, or start the held steps if the gate was passed meanwhile. Raises Suspended or Ended."""
        assert self.keeper is not None
        if self.keeper.suspend():
            self.active.mark_interrupted()
            raise Suspended
        self.check_ended()
        # The gate was passed or the run has ended: the steps find out which, so they are not held again.
        steps, self.held = self.held, []
        for step in steps:
            self._submit(step)

    def next_events(self) -> Iterator[DagsterEvent]:
        """Wait for an event and yield all that have arrived. Raises Ended when the run was ended meanwhile."""
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

    def wait_for_retry(self, seconds: float) -> None:
        """Wait for the delay of a step's retry while no step runs."""
        threading.Event().wait(seconds)

    def check_ended(self) -> None:
        """Raise Ended when the run was ended from outside or Dagster interrupts this process."""
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
        # The number of threads is not a limit of the plan: an earlier segment with more threads may have logged
        # more running steps.
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
                segment.wait_for_retry(min(max(pause, 0), _CHECK_SECONDS))
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
    """The events that rebuild the state of every step.

    A step may have started several times, by its retry policy and by each segment that was lost. Of a step that
    ended, only the events after its last start count; of an interrupted one, only its earlier retries.
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
    """The event without its delay, which has passed: the step has started since."""
    return event._replace(event_specific_data=event.step_retry_data._replace(seconds_to_wait=None))
