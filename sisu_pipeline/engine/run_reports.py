"""Status changes reported to Dagster for runs that no process executes."""

import dagster as dg


def report_canceled(instance: dg.DagsterInstance, dagster_run_id: str, reason: str) -> None:
    """End a Dagster run as canceled. A run that has ended, or does not exist, is left as it is."""
    run = instance.get_run_by_id(dagster_run_id)
    if run is not None and not run.is_finished:
        if run.status is not dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceling(run, message=reason)
        instance.report_run_canceled(run, message=reason)


def report_failed(instance: dg.DagsterInstance, dagster_run_id: str, reason: str) -> None:
    """End a Dagster run as failed. A run that has ended, or does not exist, is left as it is."""
    run = instance.get_run_by_id(dagster_run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, message=reason)
