"""Small jobs on the segment executor: driven as a worker drives a run, and what came of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster import DagsterEventType, EventLogEntry

from sisu_pipeline.engine import run_driver
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage
from sisu_pipeline.engine.step_executor import Gatekeeper, SegmentExecutor

_ENDS = {
    DagsterEventType.STEP_SUCCESS: "succeeded",
    DagsterEventType.STEP_FAILURE: "failed",
    DagsterEventType.STEP_SKIPPED: "skipped",
}


class Died(BaseException):
    """A worker's sudden end: nothing of it is written any more."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: of each step that has an end, which, and how often it was tried again."""

    status: str
    steps: dict[str, str]
    retries: dict[str, int]


def outcome(instance: dg.DagsterInstance, dagster_run_id: str) -> Outcome:
    """What the event log says. Raises when a step has two ends."""
    run = run_of(instance, dagster_run_id)
    steps: dict[str, str] = {}
    retries: Counter[str] = Counter()
    for event in events(instance, dagster_run_id):
        if event.event_type in _ENDS and event.step_key is not None:
            assert event.step_key not in steps, f"{event.step_key} ends twice"
            steps[event.step_key] = _ENDS[event.event_type]
        elif event.event_type is DagsterEventType.STEP_UP_FOR_RETRY and event.step_key is not None:
            retries[event.step_key] += 1
    return Outcome(run.status.value, steps, dict(retries))


def run_of(instance: dg.DagsterInstance, dagster_run_id: str) -> dg.DagsterRun:
    """The run as it is stored now."""
    run = instance.get_run_by_id(dagster_run_id)
    assert run is not None
    return run


def events(instance: dg.DagsterInstance, dagster_run_id: str) -> list[dg.DagsterEvent]:
    """The run's events in the order of the log."""
    return [
        record.dagster_event for record in instance.all_logs(dagster_run_id) if record.dagster_event is not None
    ]


def job(graph: dg.GraphDefinition, threads: int = 4) -> dg.JobDefinition:
    """A job of the graph on the segment executor."""

    @dg.executor(name="trial", requirements=[])
    def trial(_context: dg.InitExecutorContext) -> SegmentExecutor:
        return SegmentExecutor(threads)

    return graph.to_job(name=f"{graph.name}_job", executor_def=trial)


def create(instance: dg.DagsterInstance, work: dg.JobDefinition) -> str:
    """A run of the job that has not begun; returns its id."""
    return instance.create_run_for_job(work).run_id


def drive(
    instance: dg.DagsterInstance, work: dg.JobDefinition, dagster_run_id: str, keeper: Gatekeeper | None = None
) -> Outcome:
    """One segment of the run, as a worker executes it."""
    run_driver.drive(
        instance, dg.Definitions(jobs=[work]).get_repository_def(), run_of(instance, dagster_run_id), keeper
    )
    return outcome(instance, dagster_run_id)


def drive_whole(instance: dg.DagsterInstance, graph: dg.GraphDefinition, threads: int = 4) -> Outcome:
    """A new run of the graph, in one segment."""
    work = job(graph, threads)
    with _buffered(instance):
        dagster_run_id = create(instance, work)
        run_driver.drive(
            instance, dg.Definitions(jobs=[work]).get_repository_def(), run_of(instance, dagster_run_id), None
        )
    return outcome(instance, dagster_run_id)


def drive_in_process(instance: dg.DagsterInstance, graph: dg.GraphDefinition) -> Outcome:
    """The same on Dagster's own in_process executor: what is right."""
    with _buffered(instance):
        result = graph.to_job().execute_in_process(instance=instance, raise_on_error=False)
    return outcome(instance, result.run_id)


def _buffered(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    log = instance.event_log_storage
    assert isinstance(log, BufferedEventLogStorage)
    return log.buffered()


def keeper(*, decided: bool = True, ended: bool = False) -> Gatekeeper:
    """A gatekeeper whose answers do not change."""
    return Gatekeeper(lambda: decided, lambda: not decided, lambda: ended)


@contextmanager
def dying_at(number: int, kind: DagsterEventType | None = None) -> Iterator[None]:
    """The worker dies as it writes its event of this number (from 0; of this kind), and writes none after it."""
    written = 0
    store = BufferedEventLogStorage.store_event

    def store_event(self: BufferedEventLogStorage, event: EventLogEntry) -> None:
        nonlocal written
        if event.dagster_event is not None and kind in (None, event.dagster_event_type):
            written += 1
        if written > number:
            raise Died
        store(self, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BufferedEventLogStorage, "store_event", store_event)
        yield
