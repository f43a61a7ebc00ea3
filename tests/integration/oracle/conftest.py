"""The oracle's scratch database: its own, beside the session's, so that breaking it disturbs no other test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import migrations
from resources.database import DATABASE, Connection, Database
from resources.git.repository_address import AllowedRepositories
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline.steps.execute import TaskDefaults
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.supervisor.stack_setup import make_engine_schemas
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.integration.git.repositories import make_repository, mirrors_in
from tests.integration.oracle import world as worlds
from tests.integration.oracle.world import FROM_COMMIT, World


@pytest.fixture(scope="package")
def world(database: Database, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A correct world: runs in every state, and the tables of DBOS and Dagster as they make them."""
    folder: Path = tmp_path_factory.mktemp("oracle")
    scratch = Database(database.url.replace(f"/{DATABASE}?", "/oracle_scratch?", 1))
    migrations.create_database(scratch)
    migrations.migrate(scratch)
    make_engine_schemas(scratch)
    dependencies = Dependencies(
        database=scratch,
        planner=ReplayPlanner(folder / "oc"),
        blobs=BlobStore(str(folder / "blobs")),
        workspaces=folder / "workspaces",
        task_defaults=TaskDefaults(timeout_ms=300_000, net=False),
        app_version="v1",
        queues_tasks=False,
        mirrors=mirrors_in(folder),
        allowed_repositories=AllowedRepositories((str(folder),)),
    )
    make_repository(folder / "project", FROM_COMMIT)
    return worlds.build(dependencies, folder / "project")


@pytest.fixture
def scratch(world: World) -> Iterator[Connection]:
    """A transaction on the world in which no trigger and no foreign key refuses anything; it is rolled back."""
    with world.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        yield connection
        connection.rollback()
