"""The code location: what Dagster loads (`dagster api grpc -m sisu_pipeline.definitions`)."""

import dagster as dg

from sensors.approvals import approval_sensor
from sensors.closing import closing_sensor
from sensors.deadlines import deadline_sensor
from sensors.intents import intent_sensor
from sensors.recovery import recovery_sensor
from sisu_pipeline.assets import EVERY_ASSET
from sisu_pipeline.checks import oracle_checks
from sisu_pipeline.executor import segment_executor
from sisu_pipeline.io_manager import row_io_manager, shard_io_manager
from sisu_pipeline.jobs import JOBS
from sisu_pipeline.ops import ROWS, SHARDS
from sisu_pipeline.settings import settings

defs = dg.Definitions(
    assets=EVERY_ASSET,
    asset_checks=[oracle_checks],
    jobs=JOBS,
    sensors=[intent_sensor, approval_sensor, deadline_sensor, closing_sensor, recovery_sensor],
    resources={ROWS: row_io_manager, SHARDS: shard_io_manager},
    executor=segment_executor if settings().sisu_profile == "warm" else None,
)
