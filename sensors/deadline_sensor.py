"""deadline_sensor: applies the declared outcome of overdue gates and delivers escalations to the webhook."""

import time

import dagster as dg

from sisu_pipeline.settings import settings
from sisu_pipeline.workflow import escalation
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.escalation import Webhook

TICK_SECONDS = 20.0
CHECK_INTERVAL_SECONDS = 1.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Writes the declared outcome of gates whose deadline has passed, and delivers escalations.",
)
def deadline_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for the length of a tick, also for deadlines that passed while the sensor was down."""
    until = time.monotonic() + TICK_SECONDS
    enforced: list[tuple[str, str]] = []
    delivered = 0
    webhook = _webhook()
    while True:
        now = escalation.enforce(dependencies().database)
        for run_id, gate_key in now:
            context.log.info(f"{run_id}: the deadline of {gate_key} passed without a decision or an answer")
        enforced += now
        if webhook is not None:
            delivered += escalation.deliver(dependencies().database, webhook)
        if time.monotonic() >= until:
            return dg.SkipReason(f"{len(enforced)} deadline(s) passed; delivered {delivered} escalation(s).")
        time.sleep(CHECK_INTERVAL_SECONDS)


def _webhook() -> Webhook | None:
    url, secret = settings().sisu_escalation_url, settings().sisu_escalation_secret
    return None if url is None or secret is None else Webhook(url.get_secret_value(), secret.get_secret_value())
