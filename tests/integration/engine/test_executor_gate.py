"""The executor at a gate holds the gated steps and no others, until the gate is passed or the run has ended."""

import threading
import time

import dagster as dg
import pytest

from sisu_pipeline.defs.step_ops import GATE_TAG
from sisu_pipeline.engine.step_executor import Gatekeeper
from tests.integration.engine import graphs, trials
from tests.integration.engine.conftest import Engine

GATED = {GATE_TAG: "test"}


@dg.op(tags=GATED)
def gated(number: int) -> int:
    return number


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.1))
def slow_starter(context: dg.OpExecutionContext) -> None:
    if context.retry_number == 0:
        raise ValueError("later")


@dg.graph
def gate_and_others() -> None:
    number = graphs.one()
    graphs.add(gated(number))
    graphs.add(graphs.add(number))
    slow_starter()


def test_a_closed_gate_holds_only_gated_steps_and_others_run_to_their_end(engine: Engine) -> None:
    work = trials.job(gate_and_others)
    dagster_run_id = trials.create(engine.instance, work)
    outcome = trials.drive(engine.instance, work, dagster_run_id, trials.keeper(decided=False))
    assert outcome.status == "SUSPENDED"
    assert outcome.steps == dict.fromkeys(("one", "add_2", "add_3", "slow_starter"), "succeeded")


def test_after_the_decision_the_same_run_ends_and_repeats_nothing(engine: Engine) -> None:
    work = trials.job(gate_and_others)
    dagster_run_id = trials.create(engine.instance, work)
    before = trials.drive(engine.instance, work, dagster_run_id, trials.keeper(decided=False))
    after = trials.drive(engine.instance, work, dagster_run_id, trials.keeper())
    assert after.status == "SUCCESS"
    assert after.steps == before.steps | {"gated": "succeeded", "add": "succeeded"}


def test_a_failure_before_the_gate_fails_the_run_after_it(engine: Engine) -> None:
    @dg.graph
    def failure_beside_a_gate() -> None:
        number = graphs.one()
        graphs.broken(number)
        gated(number)

    work = trials.job(failure_beside_a_gate)
    dagster_run_id = trials.create(engine.instance, work)
    assert trials.drive(engine.instance, work, dagster_run_id, trials.keeper(decided=False)).status == "SUSPENDED"
    assert trials.drive(engine.instance, work, dagster_run_id, trials.keeper()).status == "FAILURE"


def test_a_run_does_not_suspend_at_a_passed_gate(engine: Engine) -> None:
    work = trials.job(gate_and_others)
    dagster_run_id = trials.create(engine.instance, work)
    assert trials.drive(engine.instance, work, dagster_run_id, trials.keeper()).status == "SUCCESS"
    assert "RUN_SUSPENDED" not in [
        event.event_type_value for event in trials.events(engine.instance, dagster_run_id)
    ]


def test_without_a_gatekeeper_gated_steps_start_at_once(engine: Engine) -> None:
    assert trials.drive_whole(engine.instance, gate_and_others).status == "SUCCESS"


@pytest.mark.parametrize("threads", [1, 4])
def test_more_gated_steps_than_threads_are_held_and_resumed(engine: Engine, threads: int) -> None:
    @dg.graph
    def many_gates() -> None:
        number = graphs.one()
        for at in range(6):
            gated.alias(f"gated_{at}")(number)

    work = trials.job(many_gates, threads)
    dagster_run_id = trials.create(engine.instance, work)
    assert trials.drive(engine.instance, work, dagster_run_id, trials.keeper(decided=False)).status == "SUSPENDED"
    ended = trials.drive(engine.instance, work, dagster_run_id, trials.keeper())
    assert (ended.status, len(ended.steps)) == ("SUCCESS", 7)


def test_a_held_step_starts_when_the_run_neither_passed_its_gate_nor_may_suspend(engine: Engine) -> None:
    """A run that was ended from outside while undecided: `suspend` refuses, and nobody will ever decide."""
    work = trials.job(gate_and_others)
    dagster_run_id = trials.create(engine.instance, work)
    keeper = Gatekeeper(is_decided=lambda: False, suspend=lambda: False, is_ended=lambda: False)
    assert trials.drive(engine.instance, work, dagster_run_id, keeper).steps["gated"] == "succeeded"


def test_a_run_ended_while_a_step_works_starts_no_other_step_and_is_canceled(engine: Engine) -> None:
    ended, release = threading.Event(), threading.Event()

    @dg.op
    def working() -> int:
        ended.set()
        assert release.wait(30)
        return 1

    @dg.graph
    def interrupted() -> None:
        graphs.add(working())

    def is_ended() -> bool:
        release.set()  # the step may go once the executor has been told
        return ended.is_set()

    work = trials.job(interrupted)
    dagster_run_id = trials.create(engine.instance, work)
    keeper = Gatekeeper(lambda: True, lambda: False, is_ended)
    outcome = trials.drive(engine.instance, work, dagster_run_id, keeper)
    assert outcome.status == "CANCELED"
    assert "add" not in outcome.steps


def test_a_run_ended_during_a_long_retry_delay_ends_at_once(engine: Engine) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=3600))
    def hopeful() -> None:
        raise ValueError("in an hour")

    @dg.graph
    def long_delay() -> None:
        hopeful()

    work = trials.job(long_delay)
    dagster_run_id = trials.create(engine.instance, work)
    asked = threading.Event()

    def is_ended() -> bool:
        seen = asked.is_set()
        asked.set()
        return seen  # from the second time on

    began = time.monotonic()
    assert trials.drive(
        engine.instance, work, dagster_run_id, Gatekeeper(lambda: True, lambda: False, is_ended)
    ).status == ("CANCELED")
    assert time.monotonic() - began < 30
