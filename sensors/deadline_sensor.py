"""deadline_sensor: a gate whose deadline passed decides for itself, and the escalation webhook is told."""

import time

import dagster as dg

from sisu_pipeline.settings import settings
from sisu_pipeline.workflow import escalation
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.escalation import Webhook

TICK_SECONDS = 20.0
LOOK_EVERY_SECONDS = 1.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Writes the declared outcome of gates whose deadline passed; delivers escalations.",
)
def deadline_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Looks once a second for the length of a tick. What came due while it was down is done first."""
    until = time.monotonic() + TICK_SECONDS
    enforced: list[tuple[str, str]] = []
    delivered = 0
    webhook = _webhook()
    while True:
        now = escalation.enforce(dependencies().database)
        for run_id, gate_key in now:
            context.log.info(f"{run_id}: nobody decided at {gate_key} before its deadline")
        enforced += now
        if webhook is not None:
            delivered += escalation.deliver(dependencies().database, webhook)
        if time.monotonic() >= until:
            return dg.SkipReason(f"{len(enforced)} deadline(s) passed, {delivered} escalation(s) delivered.")
        time.sleep(LOOK_EVERY_SECONDS)


def _webhook() -> Webhook | None:
    url, secret = settings().sisu_escalation_url, settings().sisu_escalation_secret
    return None if url is None or secret is None else Webhook(url.get_secret_value(), secret.get_secret_value())
