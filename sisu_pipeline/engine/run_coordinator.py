"""The run coordinator, which repeats a submission that lost its database connection instead of failing the run."""

from dagster import DagsterRun, DagsterRunStatus, SubmitRunContext
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.run_coordinator.sync_in_memory_run_coordinator import SyncInMemoryRunCoordinator

from resources.failure_classification import kind_of
from resources.retry import A_MINUTE, retry_passing
from sisu_pipeline.domain.failure_kind import FailureKind


class RetryingRunCoordinator(SyncInMemoryRunCoordinator):
    """Dagster's in-memory coordinator with retries. It launches at once: the queue of runs is intentQ.

    Dagster writes to its storage before it calls the launcher, and reports the run as failed when such a statement
    loses its connection. It never launches a failed run again, so the intent would need a manual retry.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch the run and return it. When the launcher raises, the run is reported as failed and this raises."""
        try:
            return super().submit_run(context)
        except Exception as failure:
            if kind_of(failure) is not FailureKind.PASSING:
                raise
            run = retry_passing(lambda: self._finish_launch(context), A_MINUTE)
            if run.status is DagsterRunStatus.FAILURE:
                raise
            return run

    def _finish_launch(self, context: SubmitRunContext) -> DagsterRun:
        """Complete an interrupted launch; a run that was launched or has failed is returned as it is."""
        dagster_run_id = context.dagster_run.run_id
        run = self._read(dagster_run_id)
        if run.status is DagsterRunStatus.NOT_STARTED:
            self._instance.launch_run(dagster_run_id, context.workspace)
        elif run.status is DagsterRunStatus.STARTING:
            # Not `launch_run`, which reports STARTING again: recovery may have launched the run since.
            self._instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=context.workspace))
        return self._read(dagster_run_id)

    def _read(self, dagster_run_id: str) -> DagsterRun:
        run = self._instance.get_run_by_id(dagster_run_id)
        if run is None:
            raise LookupError(f"Dagster run {dagster_run_id} was deleted while it was submitted.")
        return run
