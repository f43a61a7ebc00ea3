"""recovery_sensor: requeues the work of dead workers and enqueues segments that were lost."""

import time
from functools import partial

import dagster as dg

from sisu_pipeline.engine.failure_cause import failure_cause
from sisu_pipeline.engine.run_reports import report_failed
from sisu_pipeline.engine.sensor_instance import share_instance
from sisu_pipeline.queueing import question_queue
from sisu_pipeline.recovery import run_recovery
from sisu_pipeline.recovery.lost_work import lost_work
from sisu_pipeline.recovery.parking import end_parked_dagster_runs
from sisu_pipeline.settings import settings
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Requeues the work of dead and frozen workers, and enqueues segments that were lost.",
)
def recovery_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for the length of a tick, as every worker does (`worker/worker_process.py`)."""
    share_instance(context)
    deadline = time.monotonic() + TICK_SECONDS
    monitor = run_recovery.WorkerMonitor(dependencies())
    requeued: list[run_recovery.RequeuedWork] = []
    resumed: list[str] = []
    questions: list[str] = []
    ended: list[str] = []
    canceled: list[str] = []
    while time.monotonic() < deadline:
        requeued += monitor.recover()
        canceled += run_recovery.cancel_removed(dependencies())
        if settings().sisu_profile == "warm":
            end_parked_dagster_runs(dependencies(), partial(report_failed, context.instance))
            resumed += lost_work(dependencies()).resume()
            questions += question_queue.enqueue_rounds(dependencies().database)
            ended += lost_work(dependencies()).end_orphans(partial(failure_cause, context.instance))
        time.sleep(run_recovery.CHECK_INTERVAL_SECONDS)
    for work in requeued:
        context.log.info(
            f"{work.queue_name}: requeued {work.workflow_id}, because worker {work.executor_id} is dead"
        )
    for workflow_id in resumed:
        context.log.info(f"{workflow_id}: enqueued its segment again, which was lost")
    for op_key in questions:
        context.log.info(f"{op_key}: enqueued the question of requested changes")
    for workflow_id in ended:
        context.log.info(f"{workflow_id}: ended, because its Dagster run had failed")
    for workflow_id in canceled:
        context.log.info(f"{workflow_id}: canceled, because its Dagster run was deleted or canceled")
    done = len(requeued) + len(resumed) + len(questions) + len(ended) + len(canceled)
    return dg.SkipReason(f"Recovered {done} workflow(s)." if done else "No work was lost.")
