"""The segment executor ends every step as Dagster's own executors do, on a bounded number of threads."""

import threading

import dagster as dg
import pytest

from sisu_pipeline.steps.execute import MAX_SHARDS
from tests.integration.engine import graphs, trials
from tests.integration.engine.conftest import Engine


@pytest.mark.parametrize("graph", graphs.EVERY, ids=lambda graph: graph.name)
def test_every_step_ends_as_it_does_in_process(engine: Engine, graph: dg.GraphDefinition) -> None:
    assert trials.drive_whole(engine.instance, graph) == trials.drive_in_process(engine.instance, graph)


@pytest.mark.slow
def test_as_many_dynamic_outputs_as_a_fan_out_may_have_each_run_once(engine: Engine) -> None:
    outcome = trials.drive_whole(engine.instance, graphs.many_dynamic_outputs, threads=8)
    mapped = {f"add[n{number}]": "succeeded" for number in range(MAX_SHARDS)}
    assert outcome.status == "SUCCESS"
    assert outcome.steps == {"fan_128_required_0": "succeeded", "join": "succeeded", **mapped}


def test_as_many_steps_run_at_once_as_there_are_threads_and_never_more(engine: Engine) -> None:
    threads = 3
    together = threading.Barrier(threads)
    guard = threading.Lock()
    running, most = 0, 0

    @dg.op
    def meet() -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        together.wait(timeout=30)  # only passes when as many are here as there are threads
        with guard:
            running -= 1

    @dg.graph
    def meeting() -> None:
        for number in range(3 * threads):
            meet.alias(f"meet_{number}")()

    outcome = trials.drive_whole(engine.instance, meeting, threads)
    assert outcome.status == "SUCCESS"
    assert most == threads


def test_a_step_that_waits_for_its_retry_holds_no_thread(engine: Engine) -> None:
    order: list[str] = []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.2), tags={"dagster/priority": "1"})
    def patient(context: dg.OpExecutionContext) -> None:
        order.append(f"patient {context.retry_number}")
        if context.retry_number == 0:
            raise ValueError("later")

    @dg.op
    def other() -> None:
        order.append("other")

    @dg.graph
    def waiting() -> None:
        patient()
        other()

    assert trials.drive_whole(engine.instance, waiting, threads=1).status == "SUCCESS"
    assert order == ["patient 0", "other", "patient 1"]


def test_the_run_fails_with_the_first_failure_named(engine: Engine) -> None:
    work = trials.job(graphs.failure_in_the_middle)
    dagster_run_id = trials.create(engine.instance, work)
    trials.drive(engine.instance, work, dagster_run_id)
    (failure,) = [
        event for event in trials.events(engine.instance, dagster_run_id) if event.is_failure and not event.step_key
    ]
    assert "Steps failed: ['broken']" in (failure.message or "")


def test_a_run_that_has_ended_is_not_executed(engine: Engine) -> None:
    work = trials.job(graphs.chain)
    dagster_run_id = trials.create(engine.instance, work)
    trials.drive(engine.instance, work, dagster_run_id)
    before = len(trials.events(engine.instance, dagster_run_id))
    trials.drive(engine.instance, work, dagster_run_id)
    assert len(trials.events(engine.instance, dagster_run_id)) == before
