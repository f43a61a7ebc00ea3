"""escalation_sensor: delivers messages of the outbox to the webhook. A slow one must not delay the deadlines."""

import time

import dagster as dg

from resources.message_channels import Webhook
from sisu_pipeline.settings import settings
from sisu_pipeline.workflow import escalation
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
CHECK_INTERVAL_SECONDS = 1.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Delivers messages about passed deadlines and pushed branches to the webhook.",
)
def escalation_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for the length of a tick."""
    url, secret = settings().sisu_escalation_url, settings().sisu_escalation_secret
    if url is None or secret is None:
        # The daemon starts the next tick at once, so this one takes its time.
        time.sleep(TICK_SECONDS)
        return dg.SkipReason("No webhook is configured (SISU_ESCALATION_URL, SISU_ESCALATION_SECRET).")
    webhook = Webhook(url.get_secret_value(), secret.get_secret_value())
    until = time.monotonic() + TICK_SECONDS
    delivered = 0
    while time.monotonic() < until:
        delivered += escalation.deliver(dependencies().database, webhook, until - time.monotonic())
        time.sleep(CHECK_INTERVAL_SECONDS)
    return dg.SkipReason(f"Delivered {delivered} message(s).")
