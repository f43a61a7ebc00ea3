"""The run coordinator: a submission that a lost connection cut off is done again, not taken for a failed run."""

from dagster import DagsterRun, DagsterRunStatus, SubmitRunContext
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.run_coordinator.sync_in_memory_run_coordinator import SyncInMemoryRunCoordinator

from sisu_pipeline.engine.database_retry import DATABASE_AWAY, retry_while_database_is_away


class RetryingRunCoordinator(SyncInMemoryRunCoordinator):
    """Dagster's default one, for `dagster.yaml`; intentQ is the queue.

    On its way to the launcher Dagster writes to its storage, and reports the run as failed when a statement of it
    loses its connection. It launches such a run no more, and its intent would have to be tried again by a person.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch the run. Raises what the launcher raises; the run has been reported as failed then."""
        try:
            return super().submit_run(context)
        except DATABASE_AWAY:
            run = retry_while_database_is_away(lambda: self._go_on(context))
            if run.status is DagsterRunStatus.FAILURE:
                raise
            return run

    def _go_on(self, context: SubmitRunContext) -> DagsterRun:
        """Do what is left of a launch: nothing when it is done, or known to have failed."""
        dagster_run_id = context.dagster_run.run_id
        run = self._read(dagster_run_id)
        if run.status is DagsterRunStatus.NOT_STARTED:
            self._instance.launch_run(dagster_run_id, context.workspace)
        elif run.status is DagsterRunStatus.STARTING:
            # Without saying once more that it starts: recovery may have launched it, and it may have started.
            self._instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=context.workspace))
        return self._read(dagster_run_id)

    def _read(self, dagster_run_id: str) -> DagsterRun:
        run = self._instance.get_run_by_id(dagster_run_id)
        if run is None:
            raise LookupError(f"Dagster run {dagster_run_id} was deleted while it was submitted.")
        return run
