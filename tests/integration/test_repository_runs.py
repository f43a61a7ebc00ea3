"""Runs that start from a commit of a repository: resolved once, planned, approved, and executed on its files."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.git.git_errors import GitRefused
from resources.git.repository_address import AllowedRepositories
from resources.sandbox.local.self_test import open_local
from resources.sandbox.sandbox_port import TaskContext
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.planned_work import CompletePlan
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid
from sisu_pipeline.domain.changes.repository_base import InputInvalid
from sisu_pipeline.domain.plan_edit import EditRefused
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import bases, gates, plans
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.workflow import patching, submission
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_base import with_base_files, write_approved_tree
from tests.builders import an_intent
from tests.integration.git.repositories import git, git_text, make_repository, mirrors_in
from tests.integration.life import Life, ended
from tests.integration.sandbox.conftest import local_settings

PROJECT_FILES: dict[str, str | bytes] = {
    "README.md": "one\n",
    "app/main.py": "x = 1\n",
    "app/test.sh": "#!/bin/sh\ngrep -q 'x = 2' main.py\n",
    "app/old.py": "old\n",
    "logo.bin": b"\0\xff",
}
PROJECT_PATCHES = [
    {"targetPath": "app/main.py", "postimageContent": "x = 2\n"},
    {"targetPath": "app/new.py", "postimageContent": "new\n"},
    {"targetPath": "app/old.py", "op": "delete"},
    {"targetPath": "brand.bin", "op": "rename", "fromPath": "logo.bin"},
]


# A process of its own, which a crash point kills.
_RESOLVE = """
import sys
from pathlib import Path
from resources.git.repository_address import AllowedRepositories
from sisu_pipeline.store import intents
from sisu_pipeline.workflow import run_base
from sisu_pipeline.workflow.dependencies import dependencies
from dataclasses import replace
from tests.integration.git.repositories import mirrors_in

projects, run_id, intent_id = sys.argv[1:]
world = replace(
    dependencies(),
    mirrors=mirrors_in(Path(projects).parent),
    allowed_repositories=AllowedRepositories((projects,)),
)
with world.database.connect() as connection:
    intent = intents.get(connection, intent_id)
run_base.resolve(world, run_id, intent)
"""
_LAWS = ("202", "205", "207", "208", "213", "214", "216", "310", "315", "710", "720", "725")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "projects" / "one"
    make_repository(folder, PROJECT_FILES)
    (folder / "app/test.sh").chmod(0o755)
    make_repository(folder, {}, "executable")
    return folder


@pytest.fixture
def world(dependencies: Dependencies, project: Path, tmp_path: Path) -> Iterator[Dependencies]:
    yield replace(
        dependencies,
        mirrors=mirrors_in(tmp_path),
        allowed_repositories=AllowedRepositories((str(project.parent),)),
    )
    with dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge_here(connection) if not verdict.holds}
        # Laws about the engines do not hold for steps that a test executes.
        assert {law for law in broken if law.startswith(_LAWS)} == set()


def a_life(world: Dependencies, project: Path, *, repo: dict[str, Any] | None = None, **inputs: Any) -> Life:
    given = {"repo": {"path": str(project), "ref": "main", **(repo or {})}, "tests": [], "testCommand": "true"}
    return Life(world, **{**given, "patches": PROJECT_PATCHES, **inputs})


def complete(life: Life) -> CompletePlan:
    with life.dependencies.database.connect() as connection:
        found = plans.complete(connection, life.run_id, plans.current(connection, life.run_id).number)
    assert found is not None
    return found


def test_the_plan_names_the_commit_and_the_old_content_of_its_files(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    life.compile()
    plan = complete(life)
    assert plan.base.commit == git_text(project, "rev-parse", "main")
    assert {change.path: (str(change.op), change.old and change.old.git_blob) for change in plan.changes} == {
        "app/main.py": ("modify", git_text(project, "rev-parse", "main:app/main.py")),
        "app/new.py": ("create", None),
        "app/old.py": ("delete", git_text(project, "rev-parse", "main:app/old.py")),
        "brand.bin": ("create", None),
        "logo.bin": ("delete", git_text(project, "rev-parse", "main:logo.bin")),
    }


def test_the_commit_is_resolved_once_whatever_happens_to_the_branch(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    first = git_text(project, "rev-parse", "main")
    life.compile()
    make_repository(project, {"app/main.py": "x = 5\n"}, "moved")
    with world.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM app.run_steps WHERE run_id = %s", [life.run_id])
        connection.execute("DELETE FROM app.artifacts WHERE run_id = %s", [life.run_id])
        connection.execute("UPDATE app.runs SET last_step = NULL WHERE id = %s", [life.run_id])
    life.compile()
    assert complete(life).base.commit == first


@pytest.mark.parametrize(("point", "stored"), [("base.resolve.after", 0), ("base.store.after", 1)])
def test_a_process_that_dies_while_it_resolves_leaves_one_commit_or_none(
    world: Dependencies, project: Path, point: str, stored: int
) -> None:
    life = a_life(world, project)
    first = git_text(project, "rev-parse", "main")
    process = subprocess.run(
        [sys.executable, "-c", _RESOLVE, str(project.parent), life.run_id, life.id],
        env={**os.environ, "SISU_CRASH_AT": point, "DATABASE_URL": world.database.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    with world.database.connect() as connection:
        (row,) = connection.execute("SELECT count(*) FROM app.run_bases WHERE run_id = %s", [life.run_id])
    assert row["count"] == stored
    make_repository(project, {"app/main.py": "x = 5\n"}, "moved")
    life.compile()
    assert complete(life).base.commit == (first if stored else git_text(project, "rev-parse", "main"))


def test_the_workspace_starts_from_the_commit_and_is_rolled_back_to_it(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    life.plan()
    root = patching.workspace_of(world.workspaces, life.run_id).root
    assert (root / "README.md").read_text() == "one\n"
    assert (root / "app/main.py").read_text() == "x = 2\n"
    assert (root / "app/test.sh").stat().st_mode & 0o111
    assert not (root / "app/old.py").exists()
    life.say(Decision.REJECTED)
    with pytest.raises(Exception, match="Plan approval failed"):
        life.decide()
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == {path: text.encode() if isinstance(text, str) else text for path, text in PROJECT_FILES.items()}


def test_tasks_run_on_the_commit_with_the_approved_changes(world: Dependencies, project: Path) -> None:
    life = a_life(world, project, testCommand="cd app && ./test.sh && ls . ..")
    life.approve()

    async def run(task: Task) -> SandboxResult:
        async def write(run_id: str, tree: str, folder: Path) -> None:
            await asyncio.to_thread(write_approved_tree, world, run_id, tree, folder)

        with tempfile.TemporaryDirectory(prefix="sisu-") as home:
            Path(home).chmod(0o711)
            settings = local_settings(Path(home) / "sandbox", runtime=Path(home) / "run")
            sandbox = open_local(settings, None, write)
            try:
                context = TaskContext(life.run_id, "ExecuteST", 1, task.key)
                return await sandbox.run(task.request, context, lambda chunk: None)
            finally:
                await sandbox.close()

    result = life.execute(lambda task: asyncio.run(run(task)))
    assert result.output["exit"] == 0, result.output["stderr"]
    assert result.output["stdout"].split() == [
        *(".:", "main.py", "new.py", "test.sh"),
        *("..:", "README.md", "app", "brand.bin"),
    ]
    assert life.run.status is RunStatus.SUCCEEDED


def test_paths_are_below_the_subdirectory(world: Dependencies, project: Path) -> None:
    patches = [{"targetPath": "main.py", "postimageContent": "x = 2\n"}]
    life = a_life(world, project, repo={"subdirectory": "app"}, patches=patches)
    life.approve()
    root = patching.workspace_of(world.workspaces, life.run_id).root
    assert sorted(path.name for path in root.iterdir()) == ["main.py", "old.py", "test.sh"]
    life.execute(ended())


def test_the_tree_of_the_tasks_is_the_one_that_git_makes_of_the_diff(
    world: Dependencies, project: Path, tmp_path: Path
) -> None:
    life = a_life(world, project)
    life.plan()
    with world.database.connect() as connection:
        plan = plans.current(connection, life.run_id).read()
    git(project, "apply", "--index", stdin="".join(patch.diff_text for patch in plan.patch_plan or []).encode())
    life.say(Decision.APPROVED)
    life.decide()
    trees: list[str] = []

    def answer(task: Task) -> SandboxResult:
        assert task.request.tree is not None
        write_approved_tree(world, life.run_id, task.request.tree, tmp_path / "approved")
        with pytest.raises(LookupError):
            write_approved_tree(world, life.run_id, "0" * 64, tmp_path / "other")
        trees.append(git_text(project, "write-tree"))
        return ended()(task)

    life.execute(answer)
    git(tmp_path / "approved", "init", "--quiet")
    git(tmp_path / "approved", "add", "--all")
    assert git_text(tmp_path / "approved", "write-tree") == trees[0]


def edited(life: Life, patches: list[dict[str, Any]]) -> None:
    with life.dependencies.database.connect() as connection:
        version = plans.current(connection, life.run_id)
        plan = Plan.from_json({**version.plan, "patchPlan": patches})
    decision = PlanDecision(life.run_id, Decision.APPROVED, "po", None, version.sha256, edited_plan=plan)
    complete_decision = with_base_files(life.dependencies, decision)
    with life.dependencies.database.connect() as connection:
        gates.decide(connection, complete_decision)


def test_an_approver_may_edit_the_files_that_the_plan_changes(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    life.plan()
    edited(life, [{"targetPath": "app/main.py", "postimageContent": "x = 3\n"}])
    life.decide()
    root = patching.workspace_of(world.workspaces, life.run_id).root
    assert (root / "app/main.py").read_text() == "x = 3\n"
    assert (root / "app/old.py").read_text() == "old\n"
    assert complete(life).base.commit == git_text(project, "rev-parse", "main")
    life.execute(ended())


def test_an_approver_may_edit_any_file_of_the_commit(world: Dependencies, project: Path, tmp_path: Path) -> None:
    life = a_life(world, project)
    life.plan()
    patches = [
        {"targetPath": "README.md", "postimageContent": "two\n"},
        {"targetPath": "docs/new.md", "postimageContent": "new\n"},
        {"targetPath": "app/moved.py", "op": "rename", "fromPath": "app/old.py"},
    ]
    edited(life, patches)
    life.decide()
    assert {change.path: change.op for change in complete(life).changes} == {
        "README.md": "modify",
        "app/moved.py": "create",
        "app/old.py": "delete",
        "docs/new.md": "create",
    }
    root = patching.workspace_of(world.workspaces, life.run_id).root
    assert (root / "README.md").read_text() == "two\n" and (root / "app/moved.py").read_text() == "old\n"

    def answer(task: Task) -> SandboxResult:
        assert task.request.tree is not None
        write_approved_tree(world, life.run_id, task.request.tree, tmp_path / "approved")
        return ended()(task)

    life.execute(answer)
    assert (tmp_path / "approved/docs/new.md").read_text() == "new\n"
    assert (tmp_path / "approved/app/main.py").read_text() == "x = 1\n"
    with world.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    assert "208_plan_changes_files_of_the_commit" not in broken


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"targetPath": "README.md/x", "postimageContent": ""}, "nothing can be below it"),
        ({"targetPath": "app", "postimageContent": ""}, "app is a folder"),
        ({"targetPath": "README.md", "postimageContent": "", "oldSha256": "0" * 64}, "README.md"),
        ({"targetPath": "link", "postimageContent": ""}, "link"),
    ],
)
def test_an_edit_that_the_commit_does_not_permit_is_refused_and_stores_nothing(
    world: Dependencies, project: Path, patch: dict[str, str], sentence: str
) -> None:
    (project / "link").symlink_to("/etc/passwd")
    make_repository(project, {})
    life = a_life(world, project)
    life.plan()
    with world.database.connect() as connection:
        before = bases.known_paths(connection, life.run_id)
    with pytest.raises(EditRefused, match=sentence):
        edited(life, [patch])
    with world.database.connect() as connection:
        assert bases.known_paths(connection, life.run_id) == before
        assert plans.current(connection, life.run_id).number == 1


def test_an_edit_whose_files_were_not_read_is_refused(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    life.plan()
    with world.database.connect() as connection:
        version = plans.current(connection, life.run_id)
        patches = [{"targetPath": "README.md", "postimageContent": "two\n"}]
        plan = Plan.from_json({**version.plan, "patchPlan": patches})
        decision = PlanDecision(life.run_id, Decision.APPROVED, "po", None, version.sha256, edited_plan=plan)
        with pytest.raises(ChangeInvalid, match=r"cannot change README\.md: the file of the commit was not read"):
            gates.decide(connection, decision)


@pytest.mark.parametrize(
    ("repo", "patches", "sentence"),
    [
        ({"ref": "absent"}, [], "no such branch, tag or commit"),
        ({"subdirectory": "README.md"}, [], "no folder README.md"),
        ({"path": "/etc"}, [], "SISU_GIT_ALLOW"),
        ({}, [{"targetPath": "README.md/x", "postimageContent": ""}], "nothing can be below it"),
        ({}, [{"targetPath": "app", "postimageContent": ""}], "app is a folder"),
        ({}, [{"targetPath": "absent", "op": "delete"}], "does not exist"),
        ({}, [{"targetPath": "a.py", "op": "create", "postimageContent": ""}], None),
    ],
)
def test_what_cannot_be_planned_ends_the_run_with_a_sentence(
    world: Dependencies, project: Path, repo: dict[str, str], patches: list[dict[str, str]], sentence: str | None
) -> None:
    life = a_life(world, project, repo=repo, patches=patches)
    if sentence is None:
        life.compile()
        return
    with pytest.raises((GitRefused, ChangeInvalid), match=sentence):
        life.compile()
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert sentence in (life.run.error or "")


@pytest.mark.parametrize(
    ("inputs", "pointer"),
    [
        ({"repo": {"ref": "main"}}, "/inputs/repo"),
        ({"repo": {"path": "/a", "url": "https://a/b", "ref": "main"}}, "/inputs/repo"),
        ({"repo": {"path": "/a"}}, "/inputs/repo/ref"),
        ({"repo": {"path": "/a", "ref": "--upload-pack=x"}}, "/inputs/repo/ref"),
        ({"repo": {"path": "/a", "ref": "a:b"}}, "/inputs/repo/ref"),
        ({"repo": {"path": "/a", "ref": "a..b"}}, "/inputs/repo/ref"),
        ({"repo": {"path": "/a", "ref": "+main"}}, "/inputs/repo/ref"),
        ({"repo": {"path": "/a", "ref": "main", "subdirectory": "../x"}}, "/inputs/repo/subdirectory"),
        ({"repo": {"path": "/a", "ref": "main", "subdirectory": "x/.git"}}, "/inputs/repo/subdirectory"),
        ({"repo": {"path": "/a", "ref": "main", "branch": "x"}}, "/inputs/repo/branch"),
        ({"repo": "https://a/b"}, "/inputs/repo"),
        ({"repo": {"path": "/a", "ref": "main"}, "files": {}}, "/inputs/files"),
        ({"setup": {"prepare": "true", "image": "x"}}, "/inputs/setup/image"),
        ({"setup": {"network": True}}, "/inputs/setup"),
        ({"setup": {"template": "x", "network": True}}, "/inputs/setup"),
        *(
            ({"setup": {"prepare": "true", "lockFiles": [path]}}, "/inputs/setup/lockFiles/0")
            for path in ("../x", "/x", "a/..", "a//", ".git/config", ".")
        ),
    ],
)
def test_an_invalid_repository_is_refused_before_anything_is_written(
    world: Dependencies, inputs: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InputInvalid) as refusal, world.database.connect() as connection:
        submission.submit_intent(connection, an_intent(inputs=inputs))
    assert refusal.value.pointer == pointer
    assert json.dumps(refusal.value.message).isascii()
    with world.database.connect() as connection:
        assert connection.execute("SELECT count(*) AS n FROM app.intents").fetchone() == {"n": 0}


def test_the_rows_of_a_base_are_final(world: Dependencies, project: Path) -> None:
    life = a_life(world, project)
    life.compile()
    with world.database.connect() as connection:
        base = bases.find(connection, life.run_id)
        assert base is not None
        assert bases.store(connection, life.run_id, "other", replace(base, commit="0" * 40)) == base
