"""The run launcher: it enqueues Dagster runs as segments on `intentQ` and never starts a process."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import dagster as dg
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from resources.retry import A_MINUTE, retry_passing
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs.asset_keys import DECISION_JOBS, INTENT_JOB
from sisu_pipeline.defs.run_tags import PARTITION_TAG
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import IllegalTransition, RunStatus
from sisu_pipeline.engine.run_identity import authenticated_person
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.store import runs
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.dependencies import dependencies


class SegmentRunLauncher(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """`run_launcher: {module: sisu_pipeline.engine.run_launcher, class: SegmentRunLauncher}` in `dagster.yaml`."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The configuration in `dagster.yaml`."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """No configuration: the database and the version come from the settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Create the launcher from its configuration."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Enqueue the run's first segment. Report a second run for an intent that has not ended as canceled.

        Passing failures are retried for a minute: Dagster fails a run whose launch raises, for good. A permanent
        failure fails it at once, because other runs wait behind this launch.
        """
        retry_passing(lambda: self._launch(context.dagster_run), A_MINUTE)

    def _launch(self, dagster_run: dg.DagsterRun) -> None:
        intent_id = dagster_run.tags.get(PARTITION_TAG)
        if intent_id is None:
            decides = dagster_run.job_name in DECISION_JOBS
            self._enqueue(segment_queue.of_job(dagster_run.run_id, dependencies().app_version, decides=decides))
            return
        crash_point("launcher.claim.before")
        run, refusal = _claim(intent_id, dagster_run)
        crash_point("launcher.claim.after")
        if run is None:
            self._instance.report_run_canceled(dagster_run, message=refusal)
        elif run.status.is_terminal:
            # Only stored results are left to return. The queue workflow is the Dagster run's, not the intent's.
            self._enqueue(segment_queue.of_ended_intent(intent_id, dagster_run.run_id, run.app_version))
        elif run.status is not RunStatus.WAITING_INPUT:
            # A run that waits was launched by recovery while this launch was slow. Only the decision may enqueue
            # its next segment: enqueued here, it would run too early and use up its workflow id.
            self._enqueue(segment_queue.of_run(run))

    def terminate(self, run_id: str) -> bool:
        """Cancel the intent. Its running segment stops at its next event; `closing_sensor` cleans up after it."""
        dagster_run_id = run_id
        dagster_run = self._instance.get_run_by_id(dagster_run_id)
        if dagster_run is None or dagster_run.is_finished:
            return False
        self._instance.report_run_canceling(dagster_run)
        intent_id = dagster_run.tags.get(PARTITION_TAG)
        if intent_id is not None:
            _cancel(intent_id, dagster_run_id)
        return True

    def _enqueue(self, segment: segment_queue.Segment) -> None:
        segment_queue.enqueue(dependencies().database, segment)
        crash_point("launcher.enqueue.after")


def _cancel(intent_id: str, dagster_run_id: str) -> None:
    with dependencies().database.connect() as connection, suppress(NotFound, IllegalTransition):
        # A second Dagster run, which replays an ended intent, does not cancel it.
        if runs.get(connection, intent_id).dagster_run_id == dagster_run_id:
            commands.cancel_from_dagster(connection, intent_id, "run terminated", authenticated_person.get())


def _claim(intent_id: str, dagster_run: dg.DagsterRun) -> tuple[Run | None, str]:
    """The intent's run if this Dagster run may work on it, else the reason why not."""
    with dependencies().database.connect() as connection:
        try:
            run = runs.lock(connection, intent_id)
        except NotFound:
            return None, (
                f"{intent_id} has no run: start it with POST /intents/{{id}}/run, `sisu run start` or the "
                "job submit_intent."
            )
        if run.status.is_terminal:
            return run, ""
        if dagster_run.job_name == INTENT_JOB and dagster_run.asset_selection is None:
            claimed = runs.claim(connection, intent_id, dagster_run.run_id)
            if claimed is not None:
                return claimed, ""
        return None, (
            f"intent {intent_id} is {run.status} in Dagster run {run.dagster_run_id}: one intent has one run."
        )
