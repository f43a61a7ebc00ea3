"""Upgrades: this release finishes the intents that an earlier release left in flight."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import migrations
from resources.database import DATABASE, Database
from sisu_pipeline.domain.status import RunStatus
from tests.integration.engine.conftest import deployed
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, wait_for_workers

UPGRADES = Path(__file__).parents[1] / "fixtures" / "upgrade"
# Each release, and the one that has its engines' schemas.
RELEASES = {"before-0.1.0": "0.1.0", "0.1.0": "0.1.0"}

_SHAPE = """
SELECT attrelid::regclass || '.' || attname AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)) AS definition
FROM pg_attribute
JOIN pg_class relation ON relation.oid = attrelid AND relnamespace = 'app'::regnamespace AND relkind IN ('r', 'v')
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'app'
UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
          WHERE connamespace = 'app'::regnamespace
UNION ALL SELECT tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) FROM pg_trigger
          WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'app.%'
UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'app'::regnamespace
"""


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, database: Database) -> Iterator[Database]:
    """A database as an earlier release left it; none of its gates has passed its deadline."""
    url = database.url.replace(f"/{DATABASE}?", "/upgraded?", 1)
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE DATABASE upgraded")
    try:
        left = Database(url)
        for script in (f"{RELEASES[request.param]}/engines.sql", f"{request.param}/app.sql"):
            with left.connect() as connection:
                connection.execute((UPGRADES / script).read_text())
        with left.connect() as connection:
            if request.param != "before-0.1.0":
                connection.execute("UPDATE app.human_gates SET deadline_at = now() + interval '1 hour'")
        yield left
    finally:
        with database.connect(autocommit=True) as connection:
            connection.execute("DROP DATABASE upgraded WITH (FORCE)")


def test_intents_that_an_earlier_release_left_in_flight_are_finished(old: Database) -> None:
    migrations.migrate(old)
    with deployed(old) as engine, Nursery(engine.environment) as nursery:
        stage = Stage(engine.dependencies, engine.instance)
        rows = stage.rows("SELECT split_part(goal, ' ', 2) AS place, id FROM app.intents")
        intents = {row["place"]: row["id"] for row in rows}
        assert set(intents) == {"queued", "launched", "waiting", "decided", "resumed", "finished"}
        owners = {place: stage.run(intents[place]).dagster_run_id for place in intents}
        with nursery.worker("intentQ"), nursery.worker("sbxQ"):
            wait_for_workers(old, "intentQ")
            wait_for_workers(old, "sbxQ")
            owners["queued"] = stage.request(intents["queued"])
            for place in ("queued", "launched", "waiting"):
                stage.wait_for(intents[place], RunStatus.WAITING_INPUT)
                stage.decide(intents[place])
            stage.sensor_tick()
            for intent in intents.values():
                stage.wait_for(intent, RunStatus.SUCCEEDED)
            until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "a segment did not end")
        assert {place: stage.run(intents[place]).dagster_run_id for place in intents} == owners
        assert {stage.dagster_status(str(owner)) for owner in owners.values()} == {"SUCCESS"}
        assert stage.broken_laws() == []


def test_an_upgraded_database_has_the_columns_and_indexes_of_a_new_one(old: Database, database: Database) -> None:
    migrations.migrate(old)
    assert _shape(old) == _shape(database)


def _shape(database: Database) -> list[tuple[str, str]]:
    """The columns, indexes, constraints and triggers of schema `app`, without the order of columns."""
    with database.connect() as connection:
        return sorted((row["name"], row["definition"]) for row in connection.execute(_SHAPE))
