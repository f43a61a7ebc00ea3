"""push_sensor: pushes the branches of succeeded runs. A slow remote must not delay the tick."""

import logging
import threading
import time

import dagster as dg

from sisu_pipeline.workflow import run_push
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
CHECK_INTERVAL_SECONDS = 1.0
logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Pushes the branches of succeeded runs whose recipes name a remote.",
)
def push_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for a tick, in a thread: git may wait for a remote longer than a tick may take.

    While a thread is still at work, the threads of the next ticks wait for it.
    """
    until = time.monotonic() + TICK_SECONDS
    worker = threading.Thread(target=_push, args=(until - CHECK_INTERVAL_SECONDS,), daemon=True)
    worker.start()
    worker.join(TICK_SECONDS)
    return dg.SkipReason("A push is in progress." if worker.is_alive() else "No push is due.")


def _push(until: float) -> None:
    if not _one_at_a_time.acquire(timeout=max(until - time.monotonic(), 0.0)):
        return
    try:
        while time.monotonic() < until:
            run_push.push_due(dependencies())
            time.sleep(CHECK_INTERVAL_SECONDS)
    except Exception:
        # The push is due again after its pause; its row counts the attempt.
        logger.exception("a push failed for a reason that is not expected")
    finally:
        _one_at_a_time.release()
