"""A code location with one sensor of Dagster's shortest interval, which counts its ticks."""

import dagster as dg

ticks = 0


@dg.sensor(minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING, jobs=[])
def ticking_sensor() -> dg.SkipReason:
    """Count the tick."""
    global ticks
    ticks += 1
    return dg.SkipReason("It counts.")


defs = dg.Definitions(sensors=[ticking_sensor])
