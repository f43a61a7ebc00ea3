"""The branch of a succeeded run is pushed once, whatever dies meanwhile, and never over another commit."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from resources import message_channels
from resources.git.mirrors import Mirrors, MirrorSettings
from resources.git.repository_address import AllowedRepositories
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates
from sisu_pipeline.store.outputs import pushes
from sisu_pipeline.store.outputs.pushes import MOST_ATTEMPTS, PushState, RunPush
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.workflow import escalation, run_push, run_result, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import apply_policy, apply_recipe, new_recipe
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage
from tests.integration.engine.intents import until
from tests.integration.gate.test_deadlines import Receiver, receiver
from tests.integration.git.https_server import PASSWORD, USER, GitServer, serve
from tests.integration.git.repositories import git, git_text, make_repository, mirrors_in
from tests.integration.life import Life, ended
from tests.integration.test_repository_runs import PROJECT_FILES, PROJECT_PATCHES, complete, edited

__all__ = ["receiver"]

# A process of its own, which a crash point kills.
_PUSH = """
import sys
from dataclasses import replace
from pathlib import Path
from resources.git.repository_address import AllowedRepositories
from sisu_pipeline.workflow import run_push
from sisu_pipeline.workflow.dependencies import dependencies
from tests.integration.git.repositories import mirrors_in

world = replace(
    dependencies(), mirrors=mirrors_in(Path(sys.argv[1])), allowed_repositories=AllowedRepositories((sys.argv[1],))
)
assert run_push.push_due(world) == 1
"""


@dataclass(frozen=True)
class Scene:
    """A deployment, and a bare repository that runs start from and push to."""

    world: Dependencies
    remote: Path

    def recipe(self, remote: str = "origin") -> None:
        """Let runs of the recipe `pushing` push here."""
        with self.world.database.connect() as connection:
            new_recipe(connection, "pushing", push={"remote": remote})

    def life(self, **inputs: Any) -> Life:
        """A run of the recipe whose plan is at its gate."""
        given = {"repo": {"path": str(self.remote), "ref": "main"}, "tests": [], "testCommand": "true"}
        life = Life(self.world, recipe="pushing", **{**given, "patches": PROJECT_PATCHES, **inputs})
        life.plan()
        return life

    def succeeded(self, **inputs: Any) -> Life:
        """A run that has succeeded."""
        life = self.life(**inputs)
        finish(life)
        return life

    def push(self) -> int:
        """Attempt what is due; how many pushes ended."""
        return run_push.push_due(self.world)

    def again(self) -> int:
        """Attempt what waits, as if its pause were over."""
        self.execute("UPDATE app.push_requests SET next_attempt_at = now() WHERE finished_at IS NULL")
        return self.push()

    def of(self, life: Life) -> RunPush:
        """The push of a run."""
        with self.world.database.connect() as connection:
            found = pushes.of_run(connection, life.run_id)
        assert found is not None
        return found

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self.world.database.connect() as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        """Execute a statement that changes something."""
        with self.world.database.connect() as connection:
            assert connection.execute(statement).rowcount

    def branch(self, life: Life, remote: Path | None = None) -> str:
        """The commit of a run's branch in a repository."""
        return git_text(remote or self.remote, "rev-parse", f"refs/heads/sisu/{life.run_id}")


def finish(life: Life) -> None:
    """Approve the plan and execute it."""
    life.say(Decision.APPROVED)
    life.decide()
    life.execute(ended())


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    make_repository(tmp_path / "projects/work", PROJECT_FILES)
    git(tmp_path / "projects", "clone", "--quiet", "--bare", "work", "one.git")
    # Every update of a branch leaves a line.
    git(tmp_path / "projects/one.git", "config", "core.logAllRefUpdates", "always")
    return tmp_path / "projects/one.git"


@pytest.fixture
def scene(dependencies: Dependencies, remote: Path, tmp_path: Path) -> Iterator[Scene]:
    allowed = AllowedRepositories((str(tmp_path), "https://127.0.0.1:1/"))
    yield Scene(replace(dependencies, mirrors=mirrors_in(tmp_path), allowed_repositories=allowed), remote)
    with dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge_here(connection) if not verdict.holds}
        # Laws about the engines do not hold for steps that a test executes.
        assert {law for law in broken if law.startswith(("202", "207", "208", "213", "214", "725", "73"))} == set()


def test_the_branch_of_a_succeeded_run_is_pushed_once_with_the_approved_tree(scene: Scene, tmp_path: Path) -> None:
    scene.recipe()
    life = scene.succeeded()
    base = git_text(scene.remote, "rev-parse", "main")
    # The remote's branch moves on meanwhile, as it does.
    make_repository(tmp_path / "projects/work", {"README.md": "two\n"}, "second")
    git(tmp_path / "projects/work", "push", "--quiet", str(scene.remote), "main")
    assert scene.of(life).state is PushState.WAITING
    assert (scene.push(), scene.push()) == (1, 0)

    found = scene.of(life)
    assert (found.state, found.error, found.attempts) == (PushState.PUSHED, None, 1)
    assert (found.remote, found.branch) == (str(scene.remote), f"sisu/{life.run_id}")
    assert found.commit == scene.branch(life)
    git(tmp_path, "clone", "--quiet", "--no-checkout", str(scene.remote), "clone")
    git(tmp_path / "clone", "checkout", "--quiet", base)
    with scene.world.database.connect() as connection:
        result = run_result.read(connection, life.run_id)
    git(tmp_path / "clone", "apply", "--index", stdin=run_result.patch(result))
    tree = git_text(scene.remote, "rev-parse", f"{found.commit}^{{tree}}")
    assert git_text(tmp_path / "clone", "write-tree") == tree
    assert git_text(scene.remote, "rev-parse", f"{found.commit}^") == base
    (row,) = scene.rows("SELECT tree_id, parent_id FROM app.run_pushes")
    assert (row["tree_id"], row["parent_id"]) == (tree, base)
    # The same commit as in the bundle.
    assert run_result.commit(scene.world, result) == found.commit


def test_the_commit_names_every_approver_and_the_intent(scene: Scene) -> None:
    with scene.world.database.connect() as connection:
        apply_policy(connection, approvals=2)
    scene.recipe()
    life = scene.life()
    for person in ("ann", "bob"):
        with scene.world.database.connect() as connection:
            gates.decide(connection, PlanDecision(life.run_id, Decision.APPROVED, person))
    life.decide()
    life.execute(ended())
    assert scene.push() == 1
    message = git_text(scene.remote, "show", "--no-patch", "--format=%an|%B", scene.branch(life))
    assert message == (
        "sisu|Make the tests pass\n\nApproved-by: ann\nApproved-by: bob\n"
        f"Sisu-Intent: {life.id}\nSisu-Run: {life.run_id}\nSisu-Plan: {plan_hash(life)}"
    )


def plan_hash(life: Life) -> str:
    with life.dependencies.database.connect() as connection:
        return run_result.read(connection, life.run_id).plan_sha256


def test_what_people_approve_names_the_branch_and_the_remote(scene: Scene) -> None:
    scene.recipe()
    pushed = complete(scene.life())
    assert pushed.push is not None
    assert pushed.push.remote == str(scene.remote)
    assert pushed.push.branch.startswith("sisu/run_")
    plain = Life(scene.world, repo={"path": str(scene.remote), "ref": "main"}, patches=PROJECT_PATCHES)
    plain.compile()
    assert complete(plain).push is None


def test_a_plan_that_changes_no_file_pushes_nothing(scene: Scene) -> None:
    scene.recipe()
    life = scene.succeeded(patches=[])
    assert complete(life).push_title == "nothing, because the plan changes no file"
    assert scene.push() == 0
    assert scene.rows("SELECT FROM app.push_requests") == []


def test_an_edit_that_changes_other_files_is_what_is_pushed(scene: Scene) -> None:
    scene.recipe()
    life = scene.life(patches=[])
    edited(life, [{"targetPath": "README.md", "postimageContent": "edited\n"}])
    life.decide()
    life.execute(ended())
    assert scene.push() == 1
    assert git_text(scene.remote, "diff", "--name-only", "main", scene.branch(life)) == "README.md"
    assert git_text(scene.remote, "show", f"{scene.branch(life)}:README.md") == "edited"


def test_a_run_that_does_not_succeed_pushes_nothing(scene: Scene) -> None:
    scene.recipe()
    rejected, failed = scene.life(), scene.life(testCommand="false")
    rejected.say(Decision.REJECTED)
    with pytest.raises(step_execution.PlanRejected):
        rejected.decide()
    failed.say(Decision.APPROVED)
    failed.decide()
    with pytest.raises(step_execution.SandboxExecutionFailed):
        failed.execute(ended(ErrorCode.CMD_NONZERO))
    assert failed.run.status is RunStatus.RETRIES_EXCEEDED
    assert scene.rows("SELECT FROM app.push_requests") == []


def test_a_fork_receives_the_branch(scene: Scene, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(scene.remote), "fork.git")
    scene.recipe(str(tmp_path / "fork.git"))
    life = scene.succeeded()
    assert scene.push() == 1
    assert scene.of(life).commit == scene.branch(life, tmp_path / "fork.git")
    assert git(scene.remote, "for-each-ref", "refs/heads/sisu") == b""


@pytest.mark.parametrize("other", ["base", "child"])
def test_a_branch_with_another_commit_is_a_failure_for_good_and_is_not_overwritten(
    scene: Scene, other: str
) -> None:
    scene.recipe()
    life = scene.succeeded()
    before = git_text(scene.remote, "rev-parse", "main")
    if other == "child":
        tree = git_text(scene.remote, "rev-parse", "main^{tree}")
        before = git_text(scene.remote, "commit-tree", "-p", "main", "-m", "x", tree)
    git(scene.remote, "branch", f"sisu/{life.run_id}", before)
    assert scene.push() == 1
    found = scene.of(life)
    assert (found.state, found.commit) == (PushState.FAILED, None)
    assert found.error is not None
    assert "exists with another commit" in found.error
    assert "sisu run apply RUN --branch" in found.error
    assert scene.branch(life) == before
    assert scene.push() == 0


def test_a_branch_above_ours_is_a_failure_with_a_sentence(scene: Scene) -> None:
    scene.recipe()
    life = scene.succeeded()
    git(scene.remote, "branch", "sisu", "main")
    assert scene.push() == 1
    found = scene.of(life)
    assert found.state is PushState.FAILED
    assert str(found.error).startswith(f"cannot push sisu/{life.run_id}: the server refuses the push")


def test_a_remote_that_is_not_allowed_any_more_is_a_failure_for_good(scene: Scene, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(scene.remote), "fork.git")
    scene.recipe(str(tmp_path / "fork.git"))
    life = scene.succeeded()
    narrow = replace(scene.world, allowed_repositories=AllowedRepositories((str(scene.remote.parent),)))
    assert run_push.push_due(narrow) == 1
    assert "SISU_GIT_ALLOW" in str(scene.of(life).error)


def test_a_remote_that_is_not_allowed_ends_the_run_before_its_plan(scene: Scene) -> None:
    scene.recipe("/elsewhere/one.git")
    with pytest.raises(Exception, match=r"does not allow /elsewhere/one\.git"):
        scene.life()
    (row,) = scene.rows("SELECT status, error FROM app.runs")
    assert (row["status"], "SISU_GIT_ALLOW" in row["error"]) == ("retries_exceeded", True)


def test_a_remote_that_cannot_be_reached_is_tried_twelve_times(scene: Scene) -> None:
    scene.recipe("https://127.0.0.1:1/one.git")
    life = scene.succeeded()
    assert scene.push() == 0
    for attempt in range(1, MOST_ATTEMPTS):
        found = scene.of(life)
        assert (found.state, found.attempts) == (PushState.WAITING, attempt)
        assert "127.0.0.1" in str(found.error)
        # Not before its pause is over.
        assert scene.push() == 0
        assert scene.of(life).attempts == attempt
        ends = scene.again()
    assert ends == 1
    found = scene.of(life)
    assert (found.state, found.attempts) == (PushState.FAILED, MOST_ATTEMPTS)
    assert str(found.error).startswith("gave up after 12 attempts: cannot read the remote branch")


def test_a_process_that_dies_in_each_attempt_gives_up_too(scene: Scene) -> None:
    scene.recipe()
    life = scene.succeeded()
    scene.execute(f"UPDATE app.push_requests SET attempts = {MOST_ATTEMPTS}")
    assert scene.push() == 1
    assert "gave up after 12 attempts: the process ended during each attempt" in str(scene.of(life).error)


@pytest.mark.parametrize(
    ("point", "pushed", "recorded"),
    [
        ("push.work.before", False, False),
        ("push.work.after", True, False),
        ("push.commit.before", True, False),
        ("push.commit.after", True, True),
    ],
)
def test_wherever_the_process_dies_there_is_one_push_one_row_and_one_message(
    scene: Scene, receiver: Receiver, tmp_path: Path, point: str, pushed: bool, recorded: bool
) -> None:
    scene.recipe()
    life = scene.succeeded()
    command = [sys.executable, "-c", _PUSH, str(tmp_path)]
    process = subprocess.run(
        command,
        env={**os.environ, "SISU_CRASH_AT": point, "DATABASE_URL": scene.world.database.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    log = scene.remote / "logs/refs/heads/sisu" / life.run_id
    assert log.exists() == pushed
    assert len(scene.rows("SELECT FROM app.run_pushes")) == recorded
    assert scene.push() == 0, "it is not due before its pause"
    if not recorded:
        assert scene.again() == 1
    assert scene.push() == 0
    assert len(log.read_text().splitlines()) == 1
    (row,) = scene.rows("SELECT state, commit_id FROM app.run_pushes")
    assert row == {"state": "pushed", "commit_id": scene.branch(life)}
    assert escalation.deliver(scene.world.database, receiver.webhook) == 1
    assert escalation.deliver(scene.world.database, receiver.webhook) == 0
    assert len(receiver.received) == 1


def test_processes_at_once_push_once(scene: Scene) -> None:
    scene.recipe()
    life = scene.succeeded()
    ends: list[int] = []

    def push() -> None:
        scene.execute("UPDATE app.push_requests SET last_error = NULL")
        ends.append(run_push.push_due(scene.world))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == [0, 0, 0, 1]
    assert len((scene.remote / "logs/refs/heads/sisu" / life.run_id).read_text().splitlines()) == 1


def test_a_slow_remote_delays_no_push_to_another(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow_remote = f"https://127.0.0.1:{silent.getsockname()[1]}/one.git"
        allowed = AllowedRepositories((str(scene.remote.parent), slow_remote.removesuffix("one.git")))
        scene = replace(scene, world=replace(scene.world, allowed_repositories=allowed))
        scene.recipe(slow_remote)
        slow = scene.succeeded(ticket=1)
        with scene.world.database.connect() as connection:
            apply_recipe(connection, "pushing", push={"remote": "origin"})
        quick = scene.succeeded(ticket=2)
        in_progress = run_push.PushesInProgress()
        in_progress.start_due(scene.world)
        # The slow remote has accepted the connection and never answers.
        connection_of_git, _ = silent.accept()
        until(lambda: scene.of(quick).state is PushState.PUSHED)
        until(lambda: in_progress.remotes == [slow_remote])
        in_progress.start_due(scene.world)
        assert in_progress.remotes == [slow_remote]
    connection_of_git.close()
    until(lambda: not in_progress.remotes)
    found = scene.of(slow)
    assert (found.state, found.attempts) == (PushState.WAITING, 1)


def test_an_attempt_beside_a_slow_one_records_no_second_end(scene: Scene) -> None:
    scene.recipe()
    life = scene.succeeded()
    with scene.world.database.connect() as connection:
        slow = pushes.take(connection)
    assert slow is not None
    assert scene.again() == 1
    first = scene.of(life)
    assert not run_push._attempt(scene.world, slow)
    assert scene.of(life) == first


def test_a_mirror_that_is_removed_during_the_push_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.recipe()
    life = scene.succeeded()
    made = run_result.commit

    def removing(dependencies: Dependencies, result: run_result.RunResult) -> str:
        assert result.base is not None
        commit = made(dependencies, result)
        assert dependencies.mirrors is not None
        mirror = dependencies.mirrors.path(dependencies.allowed_repositories.named(result.base.address))
        mirror.rename(mirror.with_name("removed"))
        return commit

    monkeypatch.setattr(run_result, "commit", removing)
    assert scene.push() == 0
    assert "the mirror was removed" in str(scene.of(life).error)
    monkeypatch.undo()
    assert scene.again() == 1
    assert scene.of(life).commit == scene.branch(life)


@pytest.mark.parametrize(
    ("failure", "state", "error"),
    [
        (RuntimeError("unexpected"), PushState.FAILED, "unexpected; `sisu run apply"),
        (OSError(errno.ENOSPC, "No space left on device"), PushState.WAITING, "No space left on device"),
    ],
)
def test_a_failure_of_this_process_ends_the_push_or_is_repeated(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, failure: Exception, state: PushState, error: str
) -> None:
    scene.recipe()
    life = scene.succeeded()
    monkeypatch.setattr(run_result, "commit", raising(failure))
    assert scene.push() == (state is PushState.FAILED)
    assert scene.of(life).state is state
    assert error in str(scene.of(life).error)


def test_a_database_that_is_away_records_nothing_and_the_push_is_due_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.recipe()
    life = scene.succeeded()
    monkeypatch.setattr(run_result, "commit", raising(psycopg.errors.AdminShutdown("shutting down")))
    with pytest.raises(psycopg.errors.AdminShutdown):
        scene.push()
    assert (scene.of(life).state, scene.of(life).error) == (PushState.WAITING, None)
    monkeypatch.undo()
    assert scene.again() == 1
    assert (scene.of(life).state, scene.of(life).attempts) == (PushState.PUSHED, 2)


def raising(failure: Exception) -> Callable[..., str]:
    """A function that fails."""

    def fail(*_: object) -> str:
        raise failure

    return fail


def a_hook(remote: Path, trap: Path) -> None:
    for name in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"):
        trap_in(remote / "hooks" / name, trap)


def a_configuration(remote: Path, trap: Path) -> None:
    a_hook(remote, trap)
    program = trap_in(remote / "evil", trap)
    for name, value in (
        ("core.hooksPath", str(remote / "hooks")),
        ("core.fsmonitor", program),
        ("core.alternateRefsCommand", program),
        ("core.sshCommand", program),
        ("core.gitProxy", program),
        ("receive.autogc", "true"),
        ("gc.auto", "1"),
        ("gc.recentObjectsHook", program),
        ("gpg.program", program),
        ("credential.helper", f"!{program}"),
        ("uploadpack.packObjectsHook", program),
        ("remote.origin.url", f"ext::{program}"),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
    ):
        git(remote, "config", name, value)


def an_alternate(remote: Path, trap: Path) -> None:
    git(remote.parent, "init", "--quiet", "--bare", "other.git")
    a_configuration(remote.parent / "other.git", trap)
    (remote / "objects/info/alternates").write_text(f"{remote.parent}/other.git/objects\n")


def trap_in(program: Path, trap: Path) -> str:
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ntouch {trap}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("prepare", [a_hook, a_configuration, an_alternate])
def test_no_program_of_a_local_remote_runs(
    scene: Scene, tmp_path: Path, prepare: Callable[[Path, Path], None]
) -> None:
    scene.recipe()
    life = scene.succeeded()
    prepare(scene.remote, tmp_path / "ran")
    assert scene.push() == 1
    assert scene.of(life).commit == scene.branch(life)
    assert not (tmp_path / "ran").exists()


def test_a_remote_that_leaves_updates_to_a_hook_gets_none(scene: Scene, tmp_path: Path) -> None:
    scene.recipe()
    life = scene.succeeded()
    a_hook(scene.remote, tmp_path / "ran")
    git(scene.remote, "config", "receive.procReceiveRefs", "refs/heads")
    assert scene.push() == 1
    assert "the server refuses the push" in str(scene.of(life).error)
    assert not (tmp_path / "ran").exists()


def test_the_traps_work_when_git_is_run_carelessly(scene: Scene, tmp_path: Path) -> None:
    a_hook(scene.remote, tmp_path / "ran")
    git(tmp_path / "projects/work", "push", "--quiet", str(scene.remote), "HEAD:refs/heads/careless")
    assert (tmp_path / "ran").exists()


def test_the_webhook_gets_what_a_bot_needs_for_a_pull_request(scene: Scene, receiver: Receiver) -> None:
    scene.recipe()
    life = scene.succeeded()
    scene.push()
    assert escalation.deliver(scene.world.database, receiver.webhook) == 1
    ((message, body, signature),) = receiver.received
    assert signature == message_channels.signature(receiver.webhook.secret, body)
    assert message == {
        "event": "BRANCH_PUSHED",
        "id": f"push:{life.id}",
        "runId": life.run_id,
        "workflowId": life.id,
        "remote": str(scene.remote),
        "branch": f"sisu/{life.run_id}",
        "commit": scene.branch(life),
        "baseCommit": git_text(scene.remote, "rev-parse", "main"),
        "baseRef": "main",
    }
    page = MarkdownPage(DOCS / "repositories.md")
    (documented,) = (block.text for block in page.blocks if "BRANCH_PUSHED" in block.text)
    assert json.loads(documented).keys() == message.keys()


def test_the_webhook_hears_of_a_failure_too(scene: Scene, receiver: Receiver) -> None:
    scene.recipe()
    life = scene.succeeded()
    git(scene.remote, "branch", f"sisu/{life.run_id}", "main")
    scene.push()
    assert escalation.deliver(scene.world.database, receiver.webhook) == 1
    ((message, _, _),) = receiver.received
    assert (message["event"], message["error"]) == ("BRANCH_PUSH_FAILED", scene.of(life).error)
    assert "commit" not in message


class OverHttps:
    """A server with a password, and a deployment that pushes to it."""

    def __init__(self, scene: Scene, server: GitServer, folder: Path, *, password: str | None) -> None:
        file = folder / "credentials"
        file.write_text(f"{server.url.replace('://', f'://{USER}:{password}@')}\n")
        settings = MirrorSettings(
            folder / "mirrors", credentials=file if password else None, ca_file=server.certificate
        )
        allowed = AllowedRepositories((server.url, str(folder)))
        world = replace(scene.world, mirrors=Mirrors(settings), allowed_repositories=allowed)
        self.scene = Scene(world, scene.remote)
        self.scene.recipe(f"{server.url}/one.git")


@pytest.fixture
def server(remote: Path, tmp_path: Path) -> Iterator[GitServer]:
    with serve(tmp_path, remote.parent) as running:
        yield running


def test_a_remote_with_a_password_gets_it_from_the_file_only(
    scene: Scene, server: GitServer, tmp_path: Path
) -> None:
    pushing = OverHttps(scene, server, tmp_path, password=PASSWORD).scene
    life = pushing.succeeded()
    server.statuses["one.git"] = 503
    assert pushing.push() == 0
    assert "503" in str(pushing.of(life).error)
    del server.statuses["one.git"]
    assert pushing.again() == 1
    assert pushing.of(life).commit == pushing.branch(life)
    assert (pushing.of(life).remote, pushing.of(life).attempts) == (f"{server.url}/one.git", 2)
    for table in ("push_requests", "run_pushes", "escalations", "complete_plans", "recipes"):
        rows = pushing.rows(f"SELECT row_to_json(t)::text AS text FROM app.{table} t")
        assert rows
        assert not [row for row in rows if PASSWORD in row["text"]]


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_remote_that_refuses_access_is_a_failure_for_good(
    scene: Scene, server: GitServer, tmp_path: Path, password: str | None
) -> None:
    pushing = OverHttps(scene, server, tmp_path, password=password).scene
    life = pushing.succeeded()
    assert pushing.push() == 1
    found = pushing.of(life)
    assert found.state is PushState.FAILED
    assert "SISU_GIT_CREDENTIALS" in str(found.error)
    assert "wrong" not in str(found.error)
