"""One intent has one run; its identity never drifts; one Dagster run owns it."""

from typing import Any

import pytest
from psycopg import errors

from resources.database import Database
from sisu_pipeline.domain.errors import IdentityDrift, NotFound
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.policy import admit
from sisu_pipeline.domain.status import IllegalTransition, RunStatus
from sisu_pipeline.store import intents, runs
from tests.builders import a_request, a_run, an_intent

BUDGET = {"maxFanout": 9, "maxSBXMinutes": 9, "maxArtifactsMB": 9, "maxRetriesPerStep": 9, "maxWallClockMS": 9}


def test_a_run_is_queued_as_it_was_admitted(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection, lane="batch", tenantId="t", traceId="x", timeoutMS=5, budget=BUDGET)
    assert run.workflow_id == run.intent_id
    assert run.id == run_id(run.workflow_id)
    assert (run.status, run.segment, run.retry_count) == (RunStatus.QUEUED, 1, 0)
    assert (run.lane, run.priority, run.queue_name) == ("batch", 1000, "intentQ")
    assert (run.tenant_id, run.trace_id, run.timeout_ms, run.budget) == ("t", "x", 5, BUDGET)
    assert (run.recipe_id, run.recipe_version) == ("rcp_compile_default_v1", 1)


def test_starting_again_with_the_same_identity_is_a_replay(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        kept = intents.store(connection, an_intent())
        recipes = intents.recipes(connection)
        first = runs.start(connection, kept.id, admit(a_request(budget=BUDGET), recipes), "v1")
        same = a_request(budget=dict(reversed(BUDGET.items())), priority=7, timeoutMS=9, taskKey="k")
        again = runs.start(connection, kept.id, admit(same, recipes), "v2")
        assert (first.is_replay, again.is_replay, again.id) == (False, True, first.id)
        assert connection.execute("SELECT count(*) AS n FROM app.runs").fetchall() == [{"n": 1}]
        assert runs.get(connection, kept.id).app_version == "v1"


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({"recipeName": "sandbox-default"}, ["recipe_id", "recipe_hash"]),
        ({"queuePartitionKey": "team-b"}, ["queue_partition_key"]),
        ({"tenantId": "t"}, ["tenant_id"]),
        ({"lane": "batch"}, ["lane"]),
        ({"budget": BUDGET}, ["budget"]),
        ({"traceId": "x"}, ["trace_id"]),
        (
            {"queuePartitionKey": "team-b", "tenantId": "t", "traceId": "x"},
            ["queue_partition_key", "tenant_id", "trace_id"],
        ),
    ],
)
def test_starting_again_with_another_identity_names_what_drifted_and_writes_nothing(
    clean_database: Database, change: dict[str, Any], drift: list[str]
) -> None:
    with clean_database.connect() as connection:
        before = a_run(connection)
        with pytest.raises(IdentityDrift) as refusal:
            a_run(connection, **change)
        assert refusal.value.fields == drift
        assert runs.get(connection, before.id) == before


def test_a_changed_budget_is_drift_too(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        a_run(connection, budget=BUDGET)
        with pytest.raises(IdentityDrift, match="budget"):
            a_run(connection, budget={**BUDGET, "maxFanout": 8})


def test_a_run_of_an_unknown_intent_cannot_be_written(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        admission = admit(a_request(), intents.recipes(connection))
        with pytest.raises(errors.ForeignKeyViolation):
            runs.start(connection, "ih_" + "0" * 64, admission, "v1")


def test_a_run_is_found_by_its_run_id_and_by_its_workflow_id(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        assert runs.get(connection, run.id) == runs.get(connection, run.workflow_id) == run
        assert runs.lock(connection, run.id) == run
        with pytest.raises(NotFound):
            runs.get(connection, "run_nowhere")


def test_a_move_records_the_error_and_the_next_action(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = runs.move(connection, a_run(connection), RunStatus.RUNNING)
        run = runs.move(connection, run, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN", next_segment=True)
        assert (run.status, run.next_action, run.segment) == (RunStatus.WAITING_INPUT, "APPROVE_PLAN", 2)
        assert runs.get(connection, run.id) == run


def test_an_error_is_stored_whatever_a_program_wrote_into_it(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = runs.move(connection, a_run(connection), RunStatus.CANCELED, error=f"a\0b\udcff{'x' * 20_000}")
        assert run.error is not None
        assert run.error.startswith("a\N{REPLACEMENT CHARACTER}b?xxx") and run.error.endswith("x…")
        assert len(run.error) == 10_000
        runs.set_error(connection, run.id, "c\0\udcff")
        assert runs.get(connection, run.id).error == "c\N{REPLACEMENT CHARACTER}?"


def test_of_two_moves_from_the_same_copy_one_wins(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        runs.move(connection, run, RunStatus.CANCELED)
        with pytest.raises(IllegalTransition, match="run is canceled; it cannot become running"):
            runs.move(connection, run, RunStatus.RUNNING)


def test_the_first_dagster_run_owns_the_intent(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        first = runs.claim(connection, run.workflow_id, "dagster-1")
        assert first is not None
        assert first.dagster_run_id == "dagster-1"
        assert runs.claim(connection, run.workflow_id, "dagster-1") is not None
        assert runs.claim(connection, run.workflow_id, "dagster-2") is None
        assert runs.get(connection, run.id).dagster_run_id == "dagster-1"


def test_a_waiting_run_is_handed_over_a_running_one_is_not(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = runs.move(connection, a_run(connection), RunStatus.RUNNING)
        assert runs.hand_over(connection, run.workflow_id, "dagster-2") is None
        runs.move(connection, run, RunStatus.WAITING_INPUT)
        taken = runs.hand_over(connection, run.workflow_id, "dagster-2")
        assert taken is not None
        assert taken.dagster_run_id == "dagster-2"


def test_pages_go_back_in_time_without_gaps(clean_database: Database) -> None:
    ids = []
    for number in range(5):
        with clean_database.connect() as connection:
            ids.append(a_run(connection, an_intent(f"goal {number}")).id)
    with clean_database.connect() as connection:
        seen: list[str] = []
        while page := runs.page(connection, limit=2, before=seen[-1] if seen else None):
            seen += [run.id for run in page]
        assert seen == ids[::-1]
        runs.move(connection, runs.get(connection, ids[3]), RunStatus.CANCELED)
        assert [run.id for run in runs.page(connection, limit=9, status="canceled")] == [ids[3]]


def test_the_commit_of_a_new_run_notifies_the_listeners(clean_database: Database) -> None:
    with clean_database.connect(autocommit=True) as listener:
        listener.execute("LISTEN sisu_queued")
        with clean_database.connect() as connection:
            run = a_run(connection)
        (notification,) = listener.notifies(timeout=10, stop_after=1)
        assert notification.payload == run.workflow_id
