"""A worker may die as it writes any event: the next segment ends the run as if nothing had happened.

Death is simulated where it matters, at the event log: the event at hand and everything after it is lost, while
what a step did before it was logged stays done.
"""

import threading
from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterEventType

from tests.integration.engine import graphs, trials
from tests.integration.engine.conftest import Engine
from tests.integration.engine.trials import Died, dying_at

# Of each run, spread over its events: enough to meet a step before, in and after its work.
DEATHS = 8


def die_and_resume(instance: dg.DagsterInstance, graph: dg.GraphDefinition, deaths: tuple[int, ...]) -> str:
    """The run's id after it died once per number and went on."""
    work = trials.job(graph)
    dagster_run_id = trials.create(instance, work)
    for number in deaths:
        with dying_at(number), pytest.raises(Died):
            trials.drive(instance, work, dagster_run_id)
    trials.drive(instance, work, dagster_run_id)
    return dagster_run_id


def event_count(instance: dg.DagsterInstance, graph: dg.GraphDefinition) -> int:
    work = trials.job(graph)
    dagster_run_id = trials.create(instance, work)
    before = len(trials.events(instance, dagster_run_id))
    trials.drive(instance, work, dagster_run_id)
    return len(trials.events(instance, dagster_run_id)) - before


@pytest.mark.parametrize(
    "graph",
    [graphs.optional_output, graphs.retries, graphs.failing_branch, graphs.outputs_before_a_retry],
    ids=lambda graph: graph.name,
)
def test_a_run_that_died_at_any_event_ends_as_one_that_did_not(engine: Engine, graph: dg.GraphDefinition) -> None:
    expected = trials.drive_in_process(engine.instance, graph)
    events = event_count(engine.instance, graph)
    for number in range(1, events, events // DEATHS):
        dagster_run_id = die_and_resume(engine.instance, graph, (number,))
        ended = trials.outcome(engine.instance, dagster_run_id)
        assert (ended.status, ended.steps) == (expected.status, expected.steps), f"died at event {number}"


def test_a_run_that_dies_repeatedly_still_reaches_its_end(engine: Engine) -> None:
    dagster_run_id = die_and_resume(engine.instance, graphs.chain, (4, 3, 5, 1))
    assert trials.outcome(engine.instance, dagster_run_id).steps == {
        "one": "succeeded",
        "add": "succeeded",
        "add_2": "succeeded",
    }


def test_after_a_death_an_interrupted_step_is_executed_again_and_a_finished_one_is_not(engine: Engine) -> None:
    done: Counter[str] = Counter()

    @dg.op
    def first() -> int:
        done["first"] += 1
        return 1

    @dg.op
    def second(number: int) -> int:
        done["second"] += 1
        return number

    @dg.graph
    def two() -> None:
        second(first())

    work = trials.job(two)
    dagster_run_id = trials.create(engine.instance, work)
    # Dies as it writes that `second` has an output: its work is done, and nobody knows.
    number = 1 + [(event.event_type, event.step_key) for event in _rehearsal(engine, two)].index(
        (DagsterEventType.STEP_OUTPUT, "second")
    )
    done.clear()
    with dying_at(number - 1), pytest.raises(Died):
        trials.drive(engine.instance, work, dagster_run_id)
    assert trials.drive(engine.instance, work, dagster_run_id).status == "SUCCESS"
    assert done == {"first": 1, "second": 2}


def _rehearsal(engine: Engine, graph: dg.GraphDefinition) -> list[dg.DagsterEvent]:
    work = trials.job(graph)
    dagster_run_id = trials.create(engine.instance, work)
    before = len(trials.events(engine.instance, dagster_run_id))
    trials.drive(engine.instance, work, dagster_run_id)
    return trials.events(engine.instance, dagster_run_id)[before:]


def test_a_death_duplicates_no_dynamic_output(engine: Engine) -> None:
    seen: list[list[int]] = []

    @dg.op(out=dg.DynamicOut(int))
    def split() -> Iterator[dg.DynamicOutput[int]]:
        for number in range(5):
            yield dg.DynamicOutput(number, mapping_key=f"n{number}")

    @dg.op
    def gather(numbers: list[int]) -> None:
        seen.append(sorted(numbers))

    @dg.graph
    def fan_in() -> None:
        gather(split().map(graphs.add).collect())

    log = _rehearsal(engine, fan_in)
    outputs = [at for at, event in enumerate(log) if event.is_successful_output and event.step_key == "split"]
    seen.clear()
    # The last one dies half-way, comes back, and dies again when its outputs stand in the log twice.
    deaths = [*((number,) for number in outputs), (outputs[-1], len(log) - 8)]
    for numbers in deaths:
        die_and_resume(engine.instance, fan_in, numbers)
    assert seen == [[1, 2, 3, 4, 5]] * len(deaths)


def test_a_run_resumes_on_a_worker_with_fewer_threads(engine: Engine) -> None:
    """The log of 16 threads tells of steps that 2 threads would not have started yet."""
    wide, narrow = trials.job(graphs.some_dynamic_outputs, 12), trials.job(graphs.some_dynamic_outputs, 2)
    dagster_run_id = trials.create(engine.instance, wide)
    with dying_at(6, DagsterEventType.STEP_SUCCESS), pytest.raises(Died):
        trials.drive(engine.instance, wide, dagster_run_id)
    before = trials.outcome(engine.instance, dagster_run_id).steps
    assert len(before) == 6
    ended = trials.drive(engine.instance, narrow, dagster_run_id)
    assert ended.status == "SUCCESS"
    assert len(ended.steps) == 14


def test_no_more_steps_than_threads_run_after_a_resume(engine: Engine) -> None:
    guard = threading.Lock()
    running, most = 0, 0

    @dg.op
    def count(number: int) -> int:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        with guard:
            running -= 1
        return number

    @dg.graph
    def counted() -> None:
        graphs.join(graphs.fan(20)().map(count).collect())

    work = trials.job(counted, 2)
    dagster_run_id = trials.create(engine.instance, work)
    with dying_at(70), pytest.raises(Died):
        trials.drive(engine.instance, work, dagster_run_id)
    assert trials.drive(engine.instance, work, dagster_run_id).status == "SUCCESS"
    assert most <= 2
