"""The code location: what Dagster loads (`dagster api grpc -m sisu_pipeline.definitions`)."""

import dagster as dg

from sensors.approval_sensor import approval_sensor
from sensors.cancel_cleanup_sensor import closing_sensor
from sensors.deadline_sensor import deadline_sensor
from sensors.escalation_sensor import escalation_sensor
from sensors.intent_sensor import intent_sensor
from sensors.push_sensor import push_sensor
from sensors.recovery_sensor import recovery_sensor
from sisu_pipeline.defs.assets import EVERY_ASSET
from sisu_pipeline.defs.io_manager import row_io_manager, shard_io_manager
from sisu_pipeline.defs.jobs import JOBS
from sisu_pipeline.defs.oracle_checks import oracle_checks
from sisu_pipeline.defs.step_ops import ROWS, SHARDS
from sisu_pipeline.engine.step_executor import segment_executor
from sisu_pipeline.settings import settings

defs = dg.Definitions(
    assets=EVERY_ASSET,
    asset_checks=[oracle_checks],
    jobs=JOBS,
    sensors=[
        *(intent_sensor, approval_sensor, deadline_sensor, escalation_sensor, push_sensor),
        *(closing_sensor, recovery_sensor),
    ],
    resources={ROWS: row_io_manager, SHARDS: shard_io_manager},
    executor=segment_executor if settings().sisu_profile == "warm" else None,
)
