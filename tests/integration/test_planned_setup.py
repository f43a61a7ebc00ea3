"""The setup of an intent in its plan: what people approve, what an edit keeps, and what is refused before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.git.repository_address import AllowedRepositories
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.intent import RunRequest
from sisu_pipeline.contracts.planned_work import CompletePlan
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.declared_setup import SetupDefaults, SetupOrder
from sisu_pipeline.domain.changes.repository_base import InputInvalid
from sisu_pipeline.domain.policy import PolicyViolation
from sisu_pipeline.store import gates, plans
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.workflow import run_base, submission, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import an_intent, apply_recipe
from tests.integration.git.repositories import make_repository, mirrors_in
from tests.integration.life import Life

FILES = {"requirements.txt": "pytest\n", "app.py": "x = 1\n"}
SETUP = {"prepare": "make deps", "lockFiles": ["requirements.txt", "app.py"]}


@pytest.fixture
def world(dependencies: Dependencies) -> Iterator[Dependencies]:
    yield dependencies
    with dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge_here(connection) if not verdict.holds}
        assert {law for law in broken if law.startswith(("202", "205", "310", "315", "316"))} == set()


def with_provider(world: Dependencies, provider: str, **defaults: Any) -> Dependencies:
    """The same world with another provider and other settings of setups."""
    setup = SetupDefaults(**defaults)
    return replace(world, task_defaults=replace(world.task_defaults, provider=provider, setup=setup))


def complete(life: Life) -> CompletePlan:
    with life.dependencies.database.connect() as connection:
        found = plans.complete(connection, life.run_id, plans.current(connection, life.run_id).number)
    assert found is not None
    return found


def test_the_plan_has_the_command_its_files_and_what_its_sandbox_permits(world: Dependencies) -> None:
    life = Life(with_provider(world, "local", timeout_ms=1000, disk_mb=7), files=FILES, setup=SETUP)
    life.compile()
    plan = complete(life)
    assert plan.setup is not None
    assert plan.setup.to_json() == {
        "command": "make deps",
        "lockFiles": ["app.py", "requirements.txt"],
        "provider": "local",
        "hosts": [],
        "timeoutMs": 1000,
        "cpu": 2,
        "memMB": 2048,
        "diskMB": 7,
    }
    assert plan.head.setup == SetupOrder(plan.setup).sha256
    assert plan.setup.title == (
        "files app.py, requirements.txt, provider local, network off, time limit 1000 ms, memory 2048 MiB, "
        "disk 7 MiB, CPUs 2"
    )


def test_a_plan_without_a_setup_has_no_member_of_that_name(world: Dependencies) -> None:
    life = Life(world, files=FILES)
    life.compile()
    plan = complete(life).to_json()
    assert set(plan) == {"head", "changes", "tasks", "recipe", "policy", "base"}
    assert set(plan["head"]) == {"v", "changes", "tasks", "recipe", "policy", "base"}


def test_settings_that_change_later_change_no_plan(world: Dependencies) -> None:
    life = Life(with_provider(world, "mock", hosts=("pypi.org",)), files=FILES, setup={**SETUP, "network": True})
    life.compile()
    life.dependencies = with_provider(world, "local")
    life.approve()
    (task,) = task_planning.plan_tasks(life.dependencies, life.id)
    assert task.setup is not None
    assert (task.setup.setup.hosts, task.setup.setup.provider) == (["pypi.org"], "mock")


def test_the_usual_lock_files_are_those_that_the_plan_leaves_in_the_workspace(world: Dependencies) -> None:
    patches = [
        {"targetPath": "go.sum", "postimageContent": "new\n"},
        {"targetPath": "package.json", "op": "delete"},
        {"targetPath": "deep/Cargo.lock", "postimageContent": "not at the top\n"},
    ]
    life = Life(world, files={**FILES, "package.json": "{}"}, patches=patches, setup={"prepare": "make"})
    life.compile()
    setup = complete(life).setup
    assert setup is not None
    assert setup.lock_files == ["go.sum", "requirements.txt"]


def test_the_usual_lock_files_of_a_repository_are_those_of_its_commit(world: Dependencies, tmp_path: Path) -> None:
    project = tmp_path / "projects" / "one"
    make_repository(project, {"app/uv.lock": "1\n", "app/go.mod": "1\n", "package.json": "{}"})
    with_repositories = replace(
        world, mirrors=mirrors_in(tmp_path), allowed_repositories=AllowedRepositories((str(project.parent),))
    )
    repo = {"path": str(project), "ref": "main", "subdirectory": "app"}
    patches = [{"targetPath": "go.mod", "op": "delete"}]
    life = Life(with_repositories, repo=repo, patches=patches, setup={"prepare": "uv sync"})
    life.compile()
    setup = complete(life).setup
    assert setup is not None
    assert setup.lock_files == ["uv.lock"]


def test_a_setup_without_lock_files_ends_the_run_with_a_sentence(world: Dependencies) -> None:
    life = Life(world, files={"app.py": "x\n"}, setup={"prepare": "make"})
    with pytest.raises(InputInvalid, match="none of the usual lock files"):
        life.compile()
    assert life.run.error is not None
    assert "name the files that the prepare command reads" in life.run.error


def test_an_edited_plan_keeps_the_setup_and_the_hash_covers_it(world: Dependencies) -> None:
    life = Life(world, files=FILES, setup=SETUP)
    life.plan()
    compiled = complete(life)
    with world.database.connect() as connection:
        version = plans.current(connection, life.run_id)
        edited = Plan.from_json({**version.plan, "testCommand": "true"})
        decision = PlanDecision(life.run_id, Decision.APPROVED, "po", None, version.sha256, edited_plan=edited)
        gates.decide(connection, decision)
    life.decide()
    changed = complete(life)
    assert changed.setup == compiled.setup
    assert changed.head.setup == compiled.head.setup
    (task,) = task_planning.plan_tasks(world, life.id)
    assert (task.request.cmd, task.request.setup) == ("true", changed.head.setup)


def test_the_setup_belongs_to_the_task_key(world: Dependencies) -> None:
    def planned(setup: dict[str, Any] | None) -> Any:
        inputs: dict[str, Any] = {} if setup is None else {"setup": setup}
        life = Life(world, files=FILES, tests=["a"], **inputs)
        life.approve()
        return task_planning.plan_tasks(world, life.id)

    with_setup, without = planned(SETUP), planned(None)
    bare = replace(with_setup, setup=None)
    assert with_setup[0].key != bare[0].key
    assert with_setup[0].request.setup == with_setup.setup.sha256
    assert without[0].request.setup is None


@pytest.mark.parametrize(
    ("provider", "setup", "hosts", "pointer"),
    [
        ("local", {"template": "tpl"}, (), "/inputs/setup/template"),
        ("e2b", {"prepare": "make"}, (), "/inputs/setup/prepare"),
        ("local", {"prepare": "make", "network": True}, (), "/inputs/setup/network"),
        ("local", {"prepare": "make", "network": True}, ("pypi.org",), None),
        ("e2b", {"template": "tpl"}, (), None),
        ("mock", {"prepare": "make", "template": "tpl"}, (), None),
    ],
)
def test_what_a_provider_cannot_honor_is_refused_before_anything_is_written(
    world: Dependencies, provider: str, setup: dict[str, Any], hosts: tuple[str, ...], pointer: str | None
) -> None:
    deployment = with_provider(world, provider, hosts=hosts)
    intent = an_intent(inputs={"setup": setup, "files": FILES})
    if pointer is None:
        run_base.check_allowed(deployment, intent)
        return
    with pytest.raises(InputInvalid) as refusal:
        run_base.check_allowed(deployment, intent)
    assert refusal.value.pointer == pointer


def test_a_deployment_that_changed_since_the_submission_refuses_at_compile(world: Dependencies) -> None:
    life = Life(with_provider(world, "e2b"), files=FILES, setup=SETUP)
    with pytest.raises(InputInvalid, match="executes no prepare command"):
        life.compile()


def test_a_template_is_that_of_the_tasks(world: Dependencies) -> None:
    life = Life(with_provider(world, "e2b"), files=FILES, setup={"template": "tpl-7"})
    life.approve()
    assert complete(life).setup is None
    (task,) = task_planning.plan_tasks(life.dependencies, life.id)
    assert (task.request.template_id, task.request.setup) == ("tpl-7", None)


def test_a_recipe_without_network_admits_no_setup_with_one(world: Dependencies) -> None:
    with world.database.connect() as connection:
        apply_recipe(connection, "compile-default", net=False)
        stored = submission.submit_intent(connection, an_intent(inputs={"setup": {**SETUP, "network": True}}))
    request = RunRequest(queue_partition_key="p")
    refused = pytest.raises(PolicyViolation, match="recipe compile-default forbids the network")
    with refused, world.database.connect() as connection:
        submission.start_run(connection, stored.id, request, "v1")
    with world.database.connect() as connection:
        assert connection.execute("SELECT count(*) AS n FROM app.runs").fetchone() == {"n": 0}


def test_the_hash_of_a_plan_covers_its_setup(world: Dependencies) -> None:
    life = Life(world, files=FILES, setup=SETUP)
    life.compile()
    with world.database.connect() as connection:
        row = connection.execute("SELECT head, setup, plan_sha256 FROM app.complete_plans").fetchone()
    assert row is not None
    assert row["plan_sha256"] == sha256_hex(row["head"])
    assert f'"setup":"{sha256_hex(row["setup"])}"' in row["head"]
