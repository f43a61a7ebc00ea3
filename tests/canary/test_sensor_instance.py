"""Ticks of one process share an instance: Dagster creates none for a context that has one."""

from collections.abc import Iterator

import dagster as dg
import pytest

from sisu_pipeline.engine import sensor_instance
from sisu_pipeline.engine.sensor_instance import share_instance


@pytest.fixture(autouse=True)
def no_shared_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_instance, "_shared", None)


@pytest.fixture
def stored() -> Iterator[dg.DagsterInstance]:
    """An instance with a reference, as a daemon passes it to the code server."""
    with dg.instance_for_test() as instance:
        yield instance


def a_tick(stored: dg.DagsterInstance) -> dg.SensorEvaluationContext:
    return dg.SensorEvaluationContext(
        instance_ref=stored.get_ref(),
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        repository_name=None,
    )


def test_two_ticks_use_one_instance(stored: dg.DagsterInstance) -> None:
    with a_tick(stored) as first, a_tick(stored) as second:
        share_instance(first)
        share_instance(second)
        assert first.instance is second.instance
    with a_tick(stored) as later:
        share_instance(later)
        later.instance.add_dynamic_partitions("intents", ["ih_1"])
    assert stored.get_dynamic_partitions("intents") == ["ih_1"]


def test_without_sharing_every_tick_has_its_own(stored: dg.DagsterInstance) -> None:
    with a_tick(stored) as first, a_tick(stored) as second:
        assert first.instance is not second.instance


def test_the_instance_of_a_context_stays(stored: dg.DagsterInstance) -> None:
    with dg.build_sensor_context(instance=stored) as context:
        share_instance(context)
        assert context.instance is stored
