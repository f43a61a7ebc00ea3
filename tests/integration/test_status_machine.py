"""The state machine, twice: in Python and as data in Postgres; and no sequence of moves gets around it."""

import itertools

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from resources.database import Database
from sisu_pipeline.domain.status import TRANSITIONS, IllegalTransition, RunStatus, can_move
from sisu_pipeline.store import runs
from sisu_pipeline.store.runs import Run
from tests.builders import a_run, an_intent

statuses = st.sampled_from(RunStatus)

_MOVE = "SELECT FROM app.move_run(%s, %s, %s, NULL, NULL, 0, %s)"


def test_the_table_in_postgres_is_the_table_in_python(database: Database) -> None:
    with database.connect() as connection:
        rows = connection.execute("SELECT from_status, to_status FROM app.run_transitions").fetchall()
    stored = {(row["from_status"], row["to_status"]) for row in rows}
    assert stored == {(str(current), str(wanted)) for current in TRANSITIONS for wanted in TRANSITIONS[current]}


class RunLife(RuleBasedStateMachine):
    """One run, moved at random through the store, with stale copies, and in SQL."""

    database: Database
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        with self.database.connect() as connection:
            self.run = a_run(connection, an_intent(f"life {next(self.numbers)}"))
        self.copies = [self.run]
        self.history = [RunStatus.QUEUED]
        self.retries = 0

    @rule(wanted=statuses, next_segment=st.booleans())
    def move(self, wanted: RunStatus, next_segment: bool) -> None:
        with self.database.connect() as connection:
            if not can_move(self.history[-1], wanted):
                with pytest.raises(IllegalTransition):
                    runs.move(connection, self.run, wanted)
                return
            moved = runs.move(connection, self.run, wanted, error="e", next_segment=next_segment)
        assert moved.segment == self.run.segment + next_segment
        assert moved.updated_at > self.run.updated_at
        self._moved_to(moved)

    @rule(wanted=statuses, data=st.data())
    def move_from_a_stale_copy(self, wanted: RunStatus, data: st.DataObject) -> None:
        copy = data.draw(st.sampled_from(self.copies))
        allowed = copy.status is self.history[-1] and can_move(copy.status, wanted)
        with self.database.connect() as connection:
            if not allowed:
                with pytest.raises(IllegalTransition):
                    runs.move(connection, copy, wanted)
                return
            self._moved_to(runs.move(connection, copy, wanted))

    @rule(wanted=statuses)
    def move_in_sql(self, wanted: RunStatus) -> None:
        current = self.history[-1]
        with self.database.connect() as connection:
            parameters = [self.run.id, current, wanted, int(wanted is RunStatus.REPAIRING)]
            if wanted is not current and not can_move(current, wanted):
                with pytest.raises(psycopg.errors.CheckViolation, match="cannot become"):
                    connection.execute(_MOVE, parameters)
                connection.rollback()
                return
            if wanted is not current:
                connection.execute(_MOVE, parameters)
                self._moved_to(runs.get(connection, self.run.id))

    @invariant()
    def the_row_says_what_was_moved_last(self) -> None:
        with self.database.connect() as connection:
            stored = runs.get(connection, self.run.id)
        assert stored.status is self.history[-1]
        assert stored.retry_count == self.retries

    @invariant()
    def what_has_ended_reopens_only_for_a_retry(self) -> None:
        for before, after in itertools.pairwise(self.history):
            assert not before.is_terminal or after is RunStatus.REPAIRING
        assert self.retries == self.history.count(RunStatus.REPAIRING)

    def _moved_to(self, run: Run) -> None:
        self.run = run
        self.copies.append(run)
        self.history.append(run.status)
        self.retries += run.status is RunStatus.REPAIRING


def test_no_sequence_of_moves_gets_around_the_state_machine(clean_database: Database) -> None:
    RunLife.database = clean_database
    run_state_machine_as_test(RunLife, settings=settings(max_examples=12, stateful_step_count=20, deadline=None))


def test_reopening_in_sql_needs_a_higher_retry_count(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = runs.move(connection, a_run(connection), RunStatus.FAILED)
        with pytest.raises(psycopg.errors.CheckViolation, match="reopens only with a higher retry_count"):
            connection.execute(_MOVE, [run.id, "failed", "repairing", 0])


def test_a_retry_gives_the_run_up_to_a_new_dagster_run(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        runs.claim(connection, run.workflow_id, "dagster-1")
        run = runs.move(connection, runs.get(connection, run.id), RunStatus.FAILED, error="boom")
        assert (run.dagster_run_id, run.error) == ("dagster-1", "boom")
        run = runs.move(connection, run, RunStatus.REPAIRING, next_segment=True)
        assert (run.dagster_run_id, run.error, run.segment, run.retry_count) == (None, None, 2, 1)
