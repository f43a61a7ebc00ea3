"""Which sandboxes are orphans, by the rows: those whose task has its result or whose run has ended."""

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing.sandbox_provider import e2b_settings
from sisu_pipeline.settings import load_settings
from sisu_pipeline.store import runs, tasks
from sisu_pipeline.store.queues import sandbox_instances
from sisu_pipeline.store.tasks import Outcome
from sisu_pipeline.workflow import task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.integration.life import Life, ended


def wanted(dependencies: Dependencies, life: Life, *keys: str) -> set[str]:
    with dependencies.database.connect() as connection:
        return {key for _, key in sandbox_instances.wanted(connection, [(life.run_id, key) for key in keys])}


def test_a_task_is_wanted_until_it_has_its_result_or_its_run_has_ended(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b"])
    life.approve()
    first, second = task_planning.plan_tasks(dependencies, life.id)
    assert wanted(dependencies, life, first.key, second.key) == {first.key, second.key}
    with dependencies.database.connect() as connection:
        kept = Outcome(life.run_id, first, 1, "e2b", ended()(first))
        tasks.store_outcomes(connection, [kept], dependencies.blobs)
    assert wanted(dependencies, life, first.key, second.key) == {second.key}
    with dependencies.database.connect() as connection:
        runs.move(connection, runs.lock(connection, life.run_id), RunStatus.CANCELED)
    assert wanted(dependencies, life, first.key, second.key) == set()


def test_no_task_of_an_unknown_run_is_wanted(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        assert sandbox_instances.wanted(connection, [("run_of_another_database", "k" * 64), ("", "")]) == set()


def test_sandboxes_carry_the_databases_name_unless_another_is_given(dependencies: Dependencies) -> None:
    environment = {"E2B_API_KEY": "e2b_x", "SBX_PROVIDER": "e2b"}
    own = e2b_settings(load_settings(environment), dependencies.database)
    given = e2b_settings(load_settings({**environment, "E2B_DEPLOYMENT": "staging"}), dependencies.database)
    assert own is not None
    assert given is not None
    assert own.deployment.endswith("-app_local")
    assert given.deployment == "staging"
