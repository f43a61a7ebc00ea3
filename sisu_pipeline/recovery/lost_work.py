"""Lost work: segments that no queue holds are enqueued, and runs whose Dagster run has failed are ended.

What one look at the rows finds may be a moment's state between two statements of another process. It is acted on
when it lasts, by the clock of the process that looks.
"""

from collections.abc import Callable

from resources.database import Database
from resources.process_cache import once
from sisu_pipeline.domain.identity import run_id_of, segment_workflow_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.recovery.observed_time import OWN_CLOCK, ObservedTime
from sisu_pipeline.recovery.parking import is_parked
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues import segments
from sisu_pipeline.store.queues.segments import LostSegment, OpenDagsterRun, OrphanedRun, UnclaimedRun
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import end_run, ending_permanently

LOST_AFTER_SECONDS = 5.0
_AT_WORK = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.REPAIRING})


class LostWork:
    """One process's search for lost work."""

    def __init__(self, dependencies: Dependencies, clock: Callable[[], float] = OWN_CLOCK) -> None:
        self._dependencies = dependencies
        self._lost: ObservedTime[LostSegment] = ObservedTime(clock)
        self._unclaimed: ObservedTime[UnclaimedRun] = ObservedTime(clock)
        self._open: ObservedTime[OpenDagsterRun] = ObservedTime(clock)
        self._orphans: ObservedTime[OrphanedRun] = ObservedTime(clock)

    def resume(self) -> list[str]:
        """Enqueue the segment of every run that should be executed and that no queue holds; returns workflow ids.

        A process may die between claiming a run and enqueueing its segment, or a segment may end without the end of
        its run, which then continues with the next segment. A Dagster run that did not end with its intent is
        executed once more: its steps return their stored outputs, and it ends.
        """
        with self._dependencies.database.connect() as connection:
            lost = segments.lost(connection)
            unclaimed = segments.unclaimed(connection)
            still_open = segments.open_dagster_runs(connection)
        resumed = []
        for found in self._unclaimed.lasting(unclaimed, LOST_AFTER_SECONDS):
            if self._claim(found):
                resumed.append(found.workflow_id)
        for segment in self._lost.lasting(lost, LOST_AFTER_SECONDS):
            if self._enqueue(segment):
                resumed.append(segment.workflow_id)
        for ended in self._open.lasting(still_open, LOST_AFTER_SECONDS):
            segment_queue.enqueue(
                self._dependencies.database,
                segment_queue.of_ended_intent(ended.workflow_id, ended.dagster_run_id, ended.app_version),
            )
            resumed.append(ended.workflow_id)
        return resumed

    def end_orphans(self, cause: Callable[[str], str]) -> list[str]:
        """End every run whose Dagster run has failed, so that it can be seen and retried; returns workflow ids.

        A failure in a step ends the run itself. This is for failures around steps and for launches that never
        succeeded. `cause` returns the reason for the failure of a Dagster run, by its id.
        """
        with self._dependencies.database.connect() as connection:
            found = segments.orphaned(connection)
        orphans = self._orphans.lasting(found, LOST_AFTER_SECONDS)
        for orphan in orphans:
            error = f"Dagster run {orphan.dagster_run_id} failed around the steps: {cause(orphan.dagster_run_id)}"
            end_run(self._dependencies, orphan.id, RunStatus.RETRIES_EXCEEDED, error)
        return [orphan.workflow_id for orphan in orphans]

    def _claim(self, found: UnclaimedRun) -> bool:
        run_id = run_id_of(found.workflow_id)
        with (
            ending_permanently(self._dependencies, run_id, "claim its Dagster run"),
            self._dependencies.database.connect() as connection,
        ):
            runs.claim(connection, found.workflow_id, found.dagster_run_id)
        return self._enqueue(LostSegment(found.workflow_id, found.segment, is_executed=False))

    def _enqueue(self, lost: LostSegment) -> bool:
        """Enqueue the segment, or the next one; returns False when its run has moved on or is parked."""
        executed = segment_workflow_id(lost.workflow_id, lost.segment)
        if lost.is_executed and is_parked(self._dependencies, executed):
            return False
        run = next_segment(self._dependencies.database, lost)
        if run is None:
            return False
        with ending_permanently(self._dependencies, run.id, f"enqueue segment {run.segment}"):
            segment_queue.enqueue(self._dependencies.database, segment_queue.of_run(run))
        return True


@once
def lost_work(dependencies: Dependencies) -> LostWork:
    """This process's search for lost work."""
    return LostWork(dependencies)


def next_segment(database: Database, lost: LostSegment) -> runs.Run | None:
    """The run of a lost segment, with its next segment as the current one if the lost one was executed.

    None when the run has moved on since it was read. Its next segment is then enqueued by the decision on its
    gate: if it were enqueued here, it would find the gate closed, and the decision would find the same segment
    executed.
    """
    with database.connect() as connection:
        run = runs.lock(connection, lost.workflow_id)
        if run.segment != lost.segment or run.status not in _AT_WORK:
            return None
        return runs.count_segment(connection, run) if lost.is_executed else run
