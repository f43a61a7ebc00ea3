"""A step's output is committed once, with all that belongs to it, or not at all."""

from dataclasses import replace

import psycopg
import pytest

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import Plan, StepId
from sisu_pipeline.domain.canonical import canonical_pieces
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.steps.apply_patch import patched_plan
from sisu_pipeline.steps.step_result import StepResult, json_artifact
from sisu_pipeline.store import gates, runs, steps
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run

PLAN = Plan(goal="g", design=["d"], files=[], risks=[], tests=[])


def _rows(connection: Connection) -> dict[str, int]:
    row = connection.execute(
        """SELECT (SELECT count(*) FROM app.run_steps) AS steps, (SELECT count(*) FROM app.artifacts) AS artifacts,
                  (SELECT count(*) FROM app.human_gates) AS gates"""
    ).fetchone()
    assert row is not None
    return row


def test_output_artifacts_and_gate_are_committed_together(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        assert steps.stored(connection, run.id, StepId.APPLY_PATCH) is None
        result = patched_plan(run.id, PLAN, "1" * 64, ())
        steps.commit(connection, run, result, dependencies.blobs)
        assert _rows(connection) == {"steps": 1, "artifacts": 1, "gates": 1}
        stored = steps.stored(connection, run.id, StepId.APPLY_PATCH)
        assert stored is not None
        assert (stored.output, stored.is_replay) == (result.output, True)
        assert runs.get(connection, run.id).last_step == "ApplyPatchST"
        assert result.gate is not None
        assert gates.plan_hash(connection, run.id) == result.gate.plan_sha256


def test_the_same_result_again_is_a_replay_and_writes_nothing(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        result = patched_plan(run.id, PLAN, "1" * 64, ())
        steps.commit(connection, run, result, dependencies.blobs)
        before = connection.execute("SELECT * FROM app.run_steps").fetchall()
        steps.commit(
            connection, run, replace(result, output=dict(reversed(result.output.items()))), dependencies.blobs
        )
        assert connection.execute("SELECT * FROM app.run_steps").fetchall() == before
        assert _rows(connection) == {"steps": 1, "artifacts": 1, "gates": 1}


def test_a_large_output_is_stored_and_compared_like_any_other(dependencies: Dependencies) -> None:
    lines = [{"task": number, "said": "tab\t back\\slash\nline \u20ac"} for number in range(10_000)]
    result = StepResult(StepId.EXECUTE, {"raw": {"tasks": lines}, "stdout": "x" * 1_000_000, "exit": 0})
    assert len("".join(canonical_pieces(result.output))) > 1_400_000
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        for _ in range(2):
            steps.commit(connection, run, result, dependencies.blobs)
            stored = steps.stored(connection, run.id, StepId.EXECUTE)
            assert stored is not None and stored.output == result.output
        lines[-1]["task"] = 0
        with pytest.raises(DeterminismBreach, match=f"{run.id}:ExecuteST:1"):
            steps.commit(connection, run, result, dependencies.blobs)
        assert _rows(connection) == {"steps": 1, "artifacts": 0, "gates": 0}


def test_another_output_is_a_breach_and_the_whole_transaction_is_rolled_back(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        steps.commit(connection, run, StepResult(StepId.COMPILE, {"goal": "g"}), dependencies.blobs)
    extra = json_artifact(run.id, StepId.COMPILE, 5, "plan_card", "extra.json", {})
    diverging = StepResult(StepId.COMPILE, {"goal": "other"}, (extra,))
    with (
        pytest.raises(DeterminismBreach, match=f"{run.id}:CompileST:1"),
        dependencies.database.connect() as connection,
    ):
        runs.set_last_step(connection, run, StepId.EXECUTE)
        steps.commit(connection, run, diverging, dependencies.blobs)
    with dependencies.database.connect() as connection:
        assert _rows(connection) == {"steps": 1, "artifacts": 0, "gates": 0}
        assert runs.get(connection, run.id).last_step == "CompileST"


def test_another_artifact_under_the_same_output_is_a_breach_too(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        first = json_artifact(run.id, StepId.COMPILE, 0, "plan_card", "plan.json", {"a": 1})
        steps.commit(connection, run, StepResult(StepId.COMPILE, {}, (first,)), dependencies.blobs)
        second = json_artifact(run.id, StepId.COMPILE, 0, "plan_card", "plan.json", {"a": 2})
        with pytest.raises(DeterminismBreach, match=r"plan\.json"):
            steps.commit(connection, run, StepResult(StepId.COMPILE, {}, (second,)), dependencies.blobs)


def test_another_plan_at_an_open_gate_is_a_breach(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        result = patched_plan(run.id, PLAN, "1" * 64, ())
        steps.commit(connection, run, result, dependencies.blobs)
        assert result.gate is not None
        other = replace(result, gate=replace(result.gate, plan_sha256="0" * 64))
        with pytest.raises(DeterminismBreach, match="open for another plan"):
            steps.commit(connection, run, other, dependencies.blobs)


def test_a_step_that_is_not_one_of_the_four_is_refused(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                """INSERT INTO app.run_steps (run_id, step_id, phase, output, started_at)
                   VALUES (%s, 'FifthST', 'execution', '{}', now())""",
                [run.id],
            )
