"""deadline_sensor: applies the declared outcome of overdue gates, and cancels runs whose time limit has passed."""

import time

import dagster as dg

from sisu_pipeline.workflow import escalation, run_timeouts
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
CHECK_INTERVAL_SECONDS = 1.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Writes the declared outcome of overdue gates, and cancels runs whose timeoutMS has passed.",
)
def deadline_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for the length of a tick, also for deadlines that passed while the sensor was down."""
    until = time.monotonic() + TICK_SECONDS
    passed = 0
    while True:
        for run_id, gate_key in escalation.enforce(dependencies()):
            passed += 1
            context.log.info(f"{run_id}: the deadline of {gate_key} passed without a decision or an answer")
        for run_id in run_timeouts.enforce(dependencies()):
            passed += 1
            context.log.info(f"{run_id}: canceled, because its timeoutMS has passed")
        if time.monotonic() >= until:
            return dg.SkipReason(f"{passed} deadline(s) passed.")
        time.sleep(CHECK_INTERVAL_SECONDS)
