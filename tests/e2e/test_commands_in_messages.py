"""Each command that a message, hint, help text or page of the product names does what it is named for.

`CASES` holds one check for each command; a computed part is an ellipsis. A message that names another command fails
the first test: add the command here, with a check of what the message promises.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sisu_pipeline.proof.harness.lab_stack import LabStack
from sisu_pipeline.settings import PROJECT_ROOT, child_environment, load_settings
from tests.e2e.conftest import CommandResult, Sisu, run_sisu, until
from tests.support.named_commands import commands, settings

# Commands that need a checkout of the run's repository, and the test that runs them with these words.
ELSEWHERE = {
    "sisu run apply …": ("tests/integration/test_run_results.py", '"run", "apply", result.life.run_id'),
    "sisu run apply … --branch": (
        "tests/integration/test_run_results.py",
        '"run", "apply", result.life.run_id, "--branch"',
    ),
    "sisu run diff …": ("tests/integration/test_run_results.py", '"run", "diff", result.life.run_id'),
}
LAB_TIMEOUT_S = 900


@dataclass(frozen=True)
class Machine:
    """The shared stack, a database that no stack uses, and a folder."""

    stack: LabStack
    sisu: Sisu
    alone: dict[str, str]
    folder: Path

    def done(self, *arguments: str, status: int = 0, stdin: str | None = None) -> str:
        """Run a command on the stack; returns its standard output."""
        return _output(self.sisu(*arguments, stdin=stdin), status)

    def done_alone(self, *arguments: str, status: int = 0, stdin: str | None = None) -> str:
        """Run a command on the database of its own; returns its standard output."""
        return _output(run_sisu(self.alone, *arguments, stdin=stdin), status)

    def started(self, goal: str, **inputs: Any) -> str:
        """Start the run of an intent."""
        content = json.dumps({"goal": f"named command: {goal}", "inputs": inputs, "constraints": {}})
        intent = json.loads(self.done("intent", "submit", "-", "--json", stdin=content))["intentId"]
        run: str = json.loads(self.done("run", "start", intent, "--json"))["runId"]
        return run

    def waiting(self, goal: str, **inputs: Any) -> str:
        """A run at its gate."""
        run = self.started(goal, **inputs)
        self.done("run", "watch", run, "--until-gate", status=3)
        return run

    def ended(self, goal: str, status: int = 0, **inputs: Any) -> str:
        """A run that has ended; `status` is the exit code of `sisu run watch`."""
        run = self.started(goal, **inputs)
        self.done("run", "approve", run)
        self.done("run", "watch", run, status=status)
        return run


Case = Callable[[Machine], None]
CASES: dict[str, Case] = {}


def _output(result: CommandResult, status: int) -> str:
    assert result.status == status, result.stdout + result.stderr
    return result.stdout


def case(*names: str) -> Callable[[Case], Case]:
    """Register the check of one or several commands."""

    def register(check: Case) -> Case:
        CASES.update(dict.fromkeys(names, check))
        return check

    return register


@case("sisu start", "SISU_HOME=… sisu start")
def a_stack_runs_on_the_named_folder(at: Machine) -> None:
    assert at.stack.command[1:4] == ("-m", "sisu_pipeline.cli", "start")
    assert at.stack.environment["SISU_HOME"] == str(at.stack.settings.home)
    assert at.stack.is_running
    at.done("run", "list")


@case("sisu worker", "DBOS__APPVERSION=… sisu worker --queue intentQ")
def a_worker_of_the_version_serves_the_intent_queue(at: Machine) -> None:
    _a_worker_serves(at, "intentQ")


@case("DBOS__APPVERSION=… sisu worker --queue sbxQ", "DBOS__APPVERSION=… sisu worker --queue …")
def a_worker_of_the_version_serves_the_sandbox_queue(at: Machine) -> None:
    _a_worker_serves(at, "sbxQ")


def _a_worker_serves(at: Machine, queue: str) -> None:
    command = [sys.executable, "-m", "sisu_pipeline.cli", "worker", "--queue", queue]
    environment = {**at.stack.environment, "DBOS__APPVERSION": f"old-{queue}"}
    worker = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL)
    try:
        until(lambda: f"old-{queue}" in at.done("version", "list"), f"a worker serves {queue}")
        assert worker.poll() is None
    finally:
        worker.terminate()
        worker.wait(30)


@case("sisu db up", "SISU_HOME=… sisu db up")
def the_database_is_up_also_when_it_was(at: Machine) -> None:
    assert at.done_alone("db", "up").startswith("database ready: ")


@case("sisu db migrate")
def nothing_is_left_to_migrate(at: Machine) -> None:
    at.done_alone("db", "migrate")
    assert at.done_alone("db", "migrate") == "no pending migrations\n"


@case("sisu db psql")
def psql_reads_statements(at: Machine) -> None:
    assert at.done_alone("db", "psql", "-At", stdin="SELECT 40 + 2;") == "42\n"


@case("sisu db sys-reset")
def a_reset_drops_the_rows_of_the_engines(at: Machine) -> None:
    at.done_alone("db", "sys-reset")
    statement = "SELECT count(*) FROM dagster.runs"
    assert at.done_alone("db", "psql", "-Atc", statement) == "0\n"


@case("sisu version adopt --help", "sisu version adopt … …")
def a_version_is_adopted(at: Machine) -> None:
    assert "OLD" in at.done_alone("version", "adopt", "--help")
    versions = "INSERT INTO dbos.application_versions (version_id, version_name) VALUES ('i0', 'v0'), ('i1', 'v1')"
    at.done_alone("db", "psql", "-qc", versions)
    adopted = at.done_alone("version", "adopt", "v0", "v1")
    assert adopted.startswith("workers of v1 finish the work of v0")


@case("sisu doctor")
def doctor_checks_each_part(at: Machine) -> None:
    assert "the sensor daemon's last heartbeat" in at.done("doctor")


@case("sisu doctor --settings")
def doctor_lists_the_names_of_settings(at: Machine) -> None:
    assert "INTENT_QUEUE_CONCURRENCY" in at.done("doctor", "--settings")


@case("sisu doctor …", "sisu run approve …", "sisu run watch …")
def doctor_names_the_command_that_lets_a_run_go_on(at: Machine) -> None:
    run = at.waiting("doctor")
    assert at.done("doctor", run) == f"It waits for approval of its plan.\nNext: sisu run approve {run}\n"
    assert f"{run} approved at " in at.done("run", "approve", run)
    assert at.done("run", "watch", run).splitlines()[-1].startswith("succeeded")


@case("sisu oracle")
def the_oracle_shows_the_rows_of_broken_laws(at: Machine) -> None:
    assert at.done("oracle").endswith(" laws, 0 broken\n")


@case("sisu notification list", "sisu notification test")
def receivers_are_listed_and_tested(at: Machine) -> None:
    assert at.done("notification", "list").startswith("RECEIVER")
    with _receiver() as port:
        listed = {"name": "sink", "webhook": f"http://127.0.0.1:{port}/", "secret": "secret-of-this-test"}
        file = at.folder / "receivers.json"
        file.write_text(json.dumps({"receivers": [listed]}))
        tested = run_sisu({**at.alone, "SISU_NOTIFICATIONS": str(file)}, "notification", "test")
    assert ["sink", "accepted"] in [line.split() for line in _output(tested, 0).splitlines()]


@case("sisu token create", "sisu token list", "sisu token revoke", "sisu session list")
def tokens_are_created_listed_and_revoked(at: Machine) -> None:
    assert at.done_alone("token", "create", "ada", "--role", "viewer").startswith("sisu_")
    token, owner = at.done_alone("token", "list").splitlines()[1].split()[:2]
    assert owner == "ada"
    assert at.done_alone("token", "revoke", token) == f"{token} of ada is revoked\n"
    assert at.done_alone("session", "list") == "No open sessions.\n"


@case("sisu policy apply", "sisu recipe apply")
def rules_are_changed_by_another_version(at: Machine) -> None:
    policy, recipe = at.folder / "policy.json", at.folder / "recipe.json"
    limits = {"maxConcurrency": 1, "maxSteps": 8, "maxSandboxMinutes": 5}
    recipe.write_text(json.dumps({"name": "named-command", "policy": "named-command", **limits}))
    for version, approvals in (("1", 1), ("2", 2)):
        policy.write_text(json.dumps({"id": "named-command", "approvals": approvals}))
        assert f"named-command@{version}" in at.done("policy", "apply", str(policy))
    assert "named-command" in at.done("recipe", "apply", str(recipe))


@case("sisu intent template", "sisu intent submit", "sisu intent submit … --url …")
def an_intent_is_submitted_from_a_file_and_from_stdin(at: Machine) -> None:
    written = json.loads(at.done("intent", "template"))
    written["inputs"] = {"files": {"a.txt": "a\n"}, "testCommand": "true"}
    file = at.folder / "intent.json"
    file.write_text(json.dumps(written))
    first = at.done("intent", "submit", str(file)).splitlines()
    assert first[1] == f"Next: sisu run start {first[0].split()[0]}"
    again = at.done("intent", "submit", "-", "--url", at.stack.url, stdin=file.read_text())
    assert again.startswith(f"{first[0].split()[0]} (already stored)")


@case("sisu intent from-git --tests … --command … --goal …")
def an_intent_is_written_from_a_checkout(at: Machine) -> None:
    checkout = at.folder / "checkout"
    checkout.mkdir()
    (checkout / "test_a.py").write_text("")
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *arguments], cwd=checkout, check=True)
    options = ("--tests", "test_*.py", "--command", "true", "--goal", "a goal")
    done = subprocess.run(
        [sys.executable, "-m", "sisu_pipeline.cli", "intent", "from-git", *options],
        cwd=checkout,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    written = json.loads(done.stdout)
    assert (written["goal"], written["inputs"]["tests"]) == ("a goal", ["test_a.py"])


@case("sisu run start", "sisu run start …", "sisu run start … --url … --body …")
def a_run_is_started_by_the_id_that_submit_prints(at: Machine) -> None:
    content = json.dumps({"goal": "named command: start", "inputs": {}, "constraints": {}})
    intent = at.done("intent", "submit", "-", stdin=content).split()[0]
    run, following = at.done("run", "start", intent).splitlines()
    assert following == f"Next: sisu run watch {run}"
    body = json.dumps({"recipeName": "sandbox-default", "queuePartitionKey": "default"})
    assert f"{run} (already started)" in at.done("run", "start", intent, "--url", at.stack.url, "--body", body)


@case("sisu run show", "sisu run show …", "sisu run show … --json", "sisu run logs …")
def a_run_is_shown_with_what_its_tasks_wrote(at: Machine) -> None:
    run = at.ended("show", tests=["a"])
    assert run in at.done("run", "show", run)
    artifacts = json.loads(at.done("run", "show", run, "--json"))["artifacts"]
    assert all(each["uri"].startswith(f"artifact://run/{run}/") for each in artifacts)
    at.done("run", "logs", run)


@case("sisu run retry …")
def a_failed_run_is_retried(at: Machine) -> None:
    run = at.ended("retry", status=1, testCommand="FAIL_ME")
    assert f"Next: sisu run logs {run}, or sisu run retry {run}" in at.done("run", "show", run)
    assert at.done("run", "retry", run).startswith(f"{run} is ")
    at.done("run", "watch", run, status=1)
    assert json.loads(at.done("run", "show", run, "--json"))["retryCount"] == 1


@case("sisu run cancel …")
def a_run_is_canceled(at: Machine) -> None:
    run = at.waiting("cancel")
    at.done("run", "cancel", run)
    at.done("run", "watch", run, status=1)
    assert json.loads(at.done("run", "show", run, "--json"))["status"] == "canceled"


@case("sisu gate list --json", "sisu gate list --cursor …", "sisu gate show …")
def open_gates_are_listed_page_by_page(at: Machine) -> None:
    runs = {at.waiting("gates, the first"), at.waiting("gates, the second")}
    gates = json.loads(at.done("gate", "list", "--json"))["gates"]
    assert runs <= {gate["runId"] for gate in gates}
    assert all(len(gate["planSha256"]) == 64 for gate in gates)
    first = at.done("gate", "list", "--limit", "1").splitlines()
    more = next(line for line in first if line.startswith("More: sisu gate list --cursor "))
    assert at.done(*more.removeprefix("More: sisu ").split())
    run = runs.pop()
    (plan,) = (gate["planSha256"] for gate in gates if gate["runId"] == run)
    assert f"Plan, version 1, sha256 {plan}" in at.done("gate", "show", run)


@case("sisu gate approve --edited")
def an_edited_plan_is_approved(at: Machine) -> None:
    run = at.waiting("edited")
    shown = json.loads(at.done("gate", "show", run, "--json"))["plan"]
    file = at.folder / "plan.json"
    file.write_text(json.dumps({**shown["plan"], "risks": ["of several\nlines"]}))
    at.done("gate", "approve", run, "--plan", shown["planSha256"], "--edited", str(file))
    assert json.loads(at.done("gate", "show", run, "--json"))["plan"]["plan"]["risks"] == ["of several\nlines"]


@case("sisu run list --before …", "sisu run history --all --cursor …")
def lists_go_on_where_the_page_before_ended(at: Machine) -> None:
    at.started("lists, the first")
    at.started("lists, the second")
    for command in (("run", "list"), ("run", "history", "--all")):
        page = at.done(*command, "--limit", "1").splitlines()
        more = next(line for line in page if line.startswith("More: "))
        following = at.done(*more.removeprefix("More: sisu ").split()).splitlines()
        assert len(following) > 1
        assert page[1] not in following


@case("sisu lab chaos --minutes … --seed …")
def the_chaos_lab_repeats_a_seed(at: Machine) -> None:
    command = [sys.executable, "-m", "sisu_pipeline.cli", "lab", "chaos", "--minutes", "0.1", "--seed", "7"]
    subprocess.run(command, cwd=PROJECT_ROOT, env=child_environment(), timeout=LAB_TIMEOUT_S, check=True)


@case("make install")
def make_installs_from_the_lock(at: Machine) -> None:
    command = ["make", "--dry-run", "--always-make", "install"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert "--require-hashes -r requirements.lock" in done.stdout


class _receiver:  # noqa: N801 - a context manager
    """A webhook that accepts every message; the block gets its port."""

    def __enter__(self) -> int:
        class Accepts(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()

        self._server = HTTPServer(("127.0.0.1", 0), Accepts)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self._server.server_port

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def alone() -> Iterator[dict[str, str]]:
    """The environment of an embedded database that no stack uses."""
    with TemporaryDirectory(prefix="sisu-named-", ignore_cleanup_errors=True) as folder:
        environment = child_environment(SISU_HOME=folder)
        environment.pop("DATABASE_URL", None)
        assert run_sisu(environment, "db", "up").status == 0
        yield environment
        run_sisu(environment, "db", "down")


@pytest.fixture
def machine(stack: LabStack, sisu: Sisu, alone: dict[str, str], tmp_path: Path) -> Machine:
    return Machine(stack, sisu, alone, tmp_path)


def test_each_named_command_has_a_check() -> None:
    found = commands()
    unchecked = {command: files for command, files in found.items() if command not in {*CASES, *ELSEWHERE}}
    assert unchecked == {}
    assert {*CASES, *ELSEWHERE} <= set(found), "a check of a command that no message names"


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_a_command_that_is_run_elsewhere_is(command: str) -> None:
    file, words = ELSEWHERE[command]
    assert words in (PROJECT_ROOT / file).read_text()


@pytest.mark.parametrize("assignment", sorted(settings()))
def test_each_named_value_of_a_setting_is_accepted(assignment: str) -> None:
    name, _, value = assignment.partition("=")
    assert str(getattr(load_settings({name: value}), name.lower())) == value


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("check", dict.fromkeys(CASES.values()), ids=lambda check: check.__name__)
def test_a_named_command_does_what_it_is_named_for(check: Case, machine: Machine) -> None:
    check(machine)
