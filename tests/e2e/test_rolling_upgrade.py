"""A rolling upgrade from release 0.1.0 with intents of every status, by the commands of `docs/upgrades.md`."""

import io
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

import sql as statements
from resources.database import DATABASE, Database
from sisu_pipeline.proof.harness import lab_stack, running_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack
from sisu_pipeline.settings import PROJECT_ROOT, child_environment, load_settings
from sisu_pipeline.store.queues import queue_depth

RELEASE_0_1_0 = "ebe9160b444fa256e0f6424fc22c1959f8a6b59b"
PAGE = PROJECT_ROOT / "docs" / "upgrades.md"
_PATIENCE_S = 120.0
_VARIABLES = {"SBX_MODE": "mock", "OC_MODE": "replay", "DAGSTER_DISABLE_TELEMETRY": "1"}
# The command line of the release in the folder that its first argument names.
_OLD_CLI = (
    "import os, sys; folder = sys.argv.pop(1); os.chdir(folder); sys.path.insert(0, folder); "
    "from sisu_pipeline.cli import main; main()"
)


@pytest.fixture(scope="module")
def old_release() -> Iterator[Path]:
    """The code of release 0.1.0, whose dependencies are those of today."""
    git = ("git", "-C", str(PROJECT_ROOT))
    if subprocess.run([*git, "cat-file", "-e", RELEASE_0_1_0], capture_output=True, check=False).returncode:
        pytest.skip(f"commit {RELEASE_0_1_0} is not in this clone: fetch the whole history")
    archive = subprocess.run([*git, "archive", RELEASE_0_1_0], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="sisu-old-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


@pytest.fixture
def shared(database: Database) -> Iterator[Database]:
    """A database of its own for both releases, on a server that neither of them starts or stops."""
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE DATABASE rolling")
    yield Database(database.url.replace(f"/{DATABASE}?", "/rolling?", 1))
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE rolling WITH (FORCE)"))


@dataclass(frozen=True)
class Documented:
    """The commands of the page, each executed once as it stands; `left` are those that have not been."""

    left: list[str]
    environment: dict[str, str]

    def run(self, line: str, *arguments: str) -> Any:
        """Run a command of the page to its end; returns its JSON."""
        command, environment = self.take(line)
        command += [*arguments, "--json"]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    @contextmanager
    def running(self, line: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command of the page that runs until the end of the block."""
        command, environment = self.take(line)
        with subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, start_new_session=True) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(30)

    def take(self, line: str) -> tuple[list[str], dict[str, str]]:
        """The arguments and the environment of the next command of the page that reads so."""
        self.left.remove(line)
        words = shlex.split(line)
        variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        _, *arguments = words[len(variables) :]
        return [sys.executable, "-m", "sisu_pipeline.cli", *arguments], self.environment | variables


def _stack(command: tuple[str, ...], given: dict[str, str]) -> lab_stack.LabStack:
    """A stack with a data folder and ports of its own on the shared database."""
    port, admin_port = lab_stack.free_ports(2)
    given = {**_VARIABLES, **given, "PORT": str(port), "ADMIN_PORT": str(admin_port)}
    Path(given["SISU_HOME"]).mkdir(exist_ok=True)
    return lab_stack.LabStack(load_settings(given), command, child_environment(**given))


@contextmanager
def _started(stack: lab_stack.LabStack) -> Iterator[RunningStack]:
    try:
        stack.start()
        with running_stack.connect_to(stack) as running:
            yield running
    finally:
        stack.stop()


def _submit(stack: RunningStack, goal: str, command: str = "run", tests: int = 2) -> str:
    inputs = {"tests": [f"t{number}" for number in range(tests)], "testCommand": command}
    return stack.submit(goal, inputs, partition=goal)


def _has_workers(database: Database, version: str) -> bool:
    """Whether a worker of each queue has this version."""
    with database.connect() as connection:
        return all(queue_depth.workers_by_queue(queue_depth.queue_states(connection), version))


def _migrations(database: Database) -> int:
    with database.connect() as connection:
        (row,) = connection.execute("SELECT count(*) AS applied FROM app.schema_migrations").fetchall()
        return int(row["applied"])


@pytest.mark.slow
def test_intents_of_release_0_1_0_in_every_status_end_right_after_a_rolling_upgrade(
    old_release: Path, shared: Database
) -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        common = {"DATABASE_URL": shared.url, "SISU_BLOB_STORE": str(Path(folder) / "blobs")}
        old_home, new_home = ({**common, "SISU_HOME": str(Path(folder) / name)} for name in ("old", "new"))
        lines = re.findall(r"^ *((?:[A-Z_]+=\S+ )?sisu .*)$", "\n".join(_blocks()), re.MULTILINE)
        page = Documented(lines, child_environment(**_VARIABLES, **new_home))
        start = (sys.executable, "-c", _OLD_CLI, str(old_release), "start", "--workers", "1")
        with _started(_stack(start, old_home)) as old:
            succeeded, failed, canceled, rejected, waiting, running = (
                _submit(old, goal, command)
                for goal, command in (
                    *(("succeeded", "run"), ("failed", "FAIL_ME"), ("canceled", "run"), ("rejected", "run")),
                    *(("waiting", "run"), ("running", "sleep 20")),
                )
            )
            planned = [succeeded, failed, canceled, rejected, waiting, running]
            old.wait_for_status(planned, "waiting_input", _PATIENCE_S)
            for intent in (succeeded, failed):
                old.approve(intent)
            assert old.post(f"/runs/{canceled}/cancel", {})[0] < 300
            assert old.post(f"/runs/{rejected}/reject-plan", {"rejectedBy": "po", "reason": "no"})[0] < 300
            old.wait_for_status([succeeded], "succeeded", _PATIENCE_S)
            old.wait_for_status([failed, rejected], "retries_exceeded", _PATIENCE_S)
            old.wait_for_status([canceled], "canceled", _PATIENCE_S)

            # Processes of the old release work on the migrated database.
            old.process.stop()
            pending = page.run("sisu db migrate --dry-run")["pending"]
            assert page.run("sisu db migrate")["applied"] == pending != []
            assert _migrations(shared) == len(statements.migrations())
            old.process.start()
            later = _submit(old, "later")
            old.wait_for_status([later], "waiting_input", _PATIENCE_S)
            old.approve(later)
            old.wait_for_status([later], "succeeded", _PATIENCE_S)

            intent_worker = page.running("DBOS__APPVERSION=v2 sisu worker --queue intentQ")
            sandbox_worker = page.running("DBOS__APPVERSION=v2 sisu worker --queue sbxQ")
            with intent_worker as first, sandbox_worker as second:
                old.wait_until(lambda: _has_workers(shared, "v2"), _PATIENCE_S, lambda: "workers of version v2")
                old.approve(running)
                old.wait_for_status([running], "running", _PATIENCE_S)
                old.wait_until(lambda: _executing(shared) == 3, _PATIENCE_S, lambda: "tasks of the running intent")
                queued = _submit(old, "queued")
                old.process.stop()
                assert (first.poll(), second.poll()) == (None, None)
                listed = {each["version"]: each for each in page.run("sisu version list")}
                assert (listed["v1"]["unfinishedRuns"], listed["v1"]["workers"]) == (3, 0)
                assert listed["v2"]["workers"] >= 2
                _finish(page, shared, new_home, (waiting, running, queued), failed)
        assert page.left == []


def _finish(
    page: Documented, database: Database, home: dict[str, str], in_flight: tuple[str, ...], failed: str
) -> None:
    """Start the new stack, hand the old version's work over, and finish it."""
    command, environment = page.take("DBOS__APPVERSION=v2 sisu start")
    new_home = {**home, "DBOS__APPVERSION": environment["DBOS__APPVERSION"]}
    with _started(_stack((*command, "--workers", "1"), new_home)) as new:
        ports = {"PORT": str(new.process.settings.port), "ADMIN_PORT": str(new.process.settings.admin_port)}
        page.environment.update(ports, DBOS__APPVERSION="v2")
        waiting, _, queued = in_flight
        adopted = page.run("sisu version adopt v1 v2")
        assert (adopted["oldVersion"], adopted["newVersion"], adopted["isReplay"]) == ("v1", "v2", False)
        new.wait_for_status([queued], "waiting_input", _PATIENCE_S)
        for intent in (waiting, queued):
            new.approve(intent)
        assert new.post(f"/runs/{failed}/retry", {})[0] == 202
        new.wait_for_status(in_flight, "succeeded", _PATIENCE_S)
        new.wait_for_status([failed], "retries_exceeded", _PATIENCE_S)
        fresh = _submit(new, "fresh")
        new.wait_for_status([fresh], "waiting_input", _PATIENCE_S)
        new.approve(fresh)
        new.wait_for_status([fresh], "succeeded", _PATIENCE_S)
        new.wait_until(lambda: _executing(database) == 0, _PATIENCE_S, lambda: "the end of every segment")
        (old_version, new_version) = page.run("sisu version list")
        assert (old_version["unfinishedRuns"], old_version["enqueued"], old_version["pending"]) == (0, 0, 0)
        assert old_version["adoption"]["newVersion"] == new_version["version"] == "v2"
        # The page's other example, with a reason, declares it again.
        assert page.run('sisu version adopt v1 v2 --reason "release 0.2.0"')["isReplay"] is True
        assert new.broken_laws() == {}
        assert page.run("sisu oracle")["holds"] is True
        assert page.run("sisu doctor")["ok"] is True


def _executing(database: Database) -> int:
    """How many workflows workers execute."""
    with database.connect() as connection:
        return sum(each.pending for each in queue_depth.by_version(connection))


def _blocks() -> list[str]:
    return re.findall(r"^ *```bash\n(.*?)^ *```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
