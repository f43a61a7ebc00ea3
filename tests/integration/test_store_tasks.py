"""Task results: final once, tries one by one, and a key means one request."""

from dataclasses import replace

import pytest

from resources.database import Connection
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxResult
from sisu_pipeline.domain.complete_plan import PlannedTasks
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.steps.execute import FanOut, Task, build_tasks
from sisu_pipeline.store import tasks
from sisu_pipeline.store.runs import Run
from sisu_pipeline.store.tasks import Outcome, Try
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run


def planned(dependencies: Dependencies, run: Run, *tests: str) -> FanOut:
    with dependencies.database.connect() as connection:
        template = tasks.template(connection, run)
    terms = template.terms(dependencies.task_defaults)
    return build_tasks(run.intent_id, run.id, PlannedTasks.of("pytest", tests, terms), run.recipe_hash, {})


def an_outcome(run: Run, task: Task, attempt: int = 1, wall_ms: int = 1) -> Outcome:
    result = SandboxResult(
        exit=0,
        stdout=f"OK {task.request.cmd}\n",
        stderr="",
        metrics=Metrics(wall_ms=wall_ms, cpu_ms=1, mem_peak_mb=1),
        sandbox_ref="mock",
        err_code=ErrorCode.NONE,
        task_key=task.key,
        raw={"provider": "mock"},
    )
    return Outcome(run.id, task, attempt, "mock", result)


def _everything(connection: Connection) -> list[object]:
    return [
        connection.execute("SELECT * FROM app.sbx_runs ORDER BY position").fetchall(),
        connection.execute("SELECT * FROM app.sbx_attempts ORDER BY task_key, attempt").fetchall(),
        connection.execute("SELECT * FROM app.artifacts ORDER BY task_key, idx").fetchall(),
    ]


def test_results_are_read_in_fan_out_order(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    all_tasks = planned(dependencies, run, "c", "a", "b")
    with dependencies.database.connect() as connection:
        tasks.store_outcomes(
            connection, [an_outcome(run, task) for task in reversed(all_tasks)], dependencies.blobs
        )
        results = list(tasks.results(connection, run.id))
        assert [result.stdout for result in results] == ["OK pytest c\n", "OK pytest a\n", "OK pytest b\n"]
        assert [result.key for result in results] == [task.key for task in all_tasks]
        assert tasks.finished_positions(connection, run.id) == [range(3)]


def test_storing_the_same_outcomes_twice_changes_nothing(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    outcomes = [an_outcome(run, task) for task in planned(dependencies, run, "a", "b")]
    with dependencies.database.connect() as connection:
        tasks.store_outcomes(connection, outcomes, dependencies.blobs)
        before = _everything(connection)
        tasks.store_outcomes(connection, outcomes, dependencies.blobs)
        tasks.store_outcomes(connection, [], dependencies.blobs)
        assert _everything(connection) == before


def test_a_second_result_with_other_timings_leaves_the_first(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    first, second = planned(dependencies, run, "a", "b")
    with dependencies.database.connect() as connection:
        tasks.store_outcomes(connection, [an_outcome(run, first, wall_ms=1)], dependencies.blobs)
        batch = [an_outcome(run, second), an_outcome(run, first, attempt=2, wall_ms=99)]
        tasks.store_outcomes(connection, batch, dependencies.blobs)
        results = list(tasks.results(connection, run.id))
    assert [(result.attempt, result.metrics["wallMs"]) for result in results] == [(1, 1), (1, 1)]


def test_one_task_twice_in_one_batch_is_stored_once(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    (task,) = planned(dependencies, run)
    with dependencies.database.connect() as connection:
        batch = [an_outcome(run, task, wall_ms=1), an_outcome(run, task, wall_ms=2)]
        tasks.store_outcomes(connection, batch, dependencies.blobs)
        assert [result.metrics["wallMs"] for result in tasks.results(connection, run.id)] == [1]


def test_another_request_under_the_same_key_is_a_breach_and_nothing_of_the_batch_is_stored(
    dependencies: Dependencies,
) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    first, second = planned(dependencies, run, "a", "b")
    with dependencies.database.connect() as connection:
        tasks.store_outcomes(connection, [an_outcome(run, first)], dependencies.blobs)
    forged = replace(first, request=first.request.model_copy(update={"cmd": "rm -rf /"}))
    with pytest.raises(DeterminismBreach, match=first.key), dependencies.database.connect() as connection:
        tasks.store_outcomes(connection, [an_outcome(run, second), an_outcome(run, forged)], dependencies.blobs)
    with dependencies.database.connect() as connection:
        assert tasks.finished_positions(connection, run.id) == [range(1)]


def test_every_try_is_stored(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    first, second = planned(dependencies, run, "a", "b")
    with dependencies.database.connect() as connection:
        failed = [Try(run.id, first.key, attempt, ErrorCode.NET_FAIL, "no route") for attempt in (1, 2)]
        tasks.store_tries(connection, failed)
        tasks.store_tries(connection, failed)
        tasks.store_tries(connection, [])
        assert tasks.tries_of(connection, [(run.id, first.key), (run.id, second.key)]) == {
            first.key: 2,
            second.key: 0,
        }
        tasks.store_outcomes(connection, [an_outcome(run, first, attempt=3)], dependencies.blobs)
        assert tasks.tries_of(connection, [(run.id, first.key)]) == {first.key: 3}


def test_the_stored_result_carries_its_attempt_and_its_index(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        (task,) = planned(dependencies, run)
        tasks.store_outcomes(connection, [an_outcome(run, task, attempt=2)], dependencies.blobs)
        rows = connection.execute("SELECT response, provider FROM app.sbx_runs").fetchall()
        index = connection.execute("SELECT uri FROM app.artifacts WHERE idx = 0").fetchall()
    assert rows[0]["provider"] == "mock"
    assert rows[0]["response"]["raw"] == {"provider": "mock", "attempt": 2}
    assert [{"uri": rows[0]["response"]["artifactIndexRef"]}] == index


def test_a_registered_template_is_hot_and_a_drifted_one_is_a_breach(dependencies: Dependencies) -> None:
    register = "INSERT INTO app.sbx_templates VALUES (%s, %s, %s, %s, 'tpl_1')"
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        cold = tasks.template(connection, run)
        assert cold.template_id is None
        connection.execute(register, [run.recipe_id, run.recipe_version, run.recipe_hash, cold.key])
        assert tasks.template(connection, run).template_id == "tpl_1"
        connection.execute("UPDATE app.sbx_templates SET template_key = 'other'")
        with pytest.raises(DeterminismBreach, match="template drift"):
            tasks.template(connection, run)
