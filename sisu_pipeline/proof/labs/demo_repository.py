"""The demo's third intent: a git repository, a plan by a recorded session of a coding agent, and a branch.

Everything is a command that a person could type: `git`, `sisu intent from-git`, `sisu run diff`, `sisu run apply`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack, lab_stack
from sisu_pipeline.proof.labs.demo_project import FOLDER, TEST_COMMAND
from sisu_pipeline.proof.labs.demo_run import MARGIN, Demo, Json, PrintLine, expect, indented, judge, show_tasks
from sisu_pipeline.settings import child_environment

GOAL = "Compute the tax that a price contains; tests/test_receipt_tax.py fails"
TESTS = "tests/test_*.py"
_BRANCH = "main"
_COMMIT = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "Kiosk"),
        ("EMAIL", "kiosk@example.org"),
        ("DATE", "2026-01-02T03:04:05Z"),
    )
}
_PLAIN_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}


def run_on_repository(home: Path, print_line: PrintLine) -> None:
    """Run the third part. Raises LabFailed."""
    repository, checkout = home / "kiosk", home / "checkout"
    commit = make_repository(repository)
    print_line("\n3. The patched project as a git repository: a coding agent repairs it, and a branch comes out;")
    print_line("   a session of Codex, recorded with a scripted model, is played in the agent's sandbox")
    print_line(f"  repository       {repository}, commit {commit[:12]}, branch {_BRANCH}")
    variables = {
        "OC_MODE": "live",
        "OC_AGENT": "playback",
        "SBX_MODE": "live",
        "SBX_PROVIDER": "local",
        "SISU_GIT_ALLOW": str(home),
    }
    with lab_stack(home, variables) as stack:
        print_line(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        print_line(f"  $ sisu intent from-git --tests '{TESTS}' --command '{TEST_COMMAND}' --goal '{GOAL}'")
        view = Demo(stack, print_line).run(intent_of(repository, stack.environment))
        rows = show_tasks(stack, view, print_line)
        expect({row["err_code"] for row in rows} == {"NONE"}, "not every test passed")
        expect(view["status"] == "succeeded", f"expected status succeeded, got {view['status']}")
        _take_branch(stack, view["runId"], repository, checkout, print_line)
        judge(stack, print_line)
    print_line("  stopped          every process exited")


def make_repository(folder: Path) -> str:
    """Make a repository of one commit with fixed dates, the project with its patch; returns the commit's id."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("project", "patched"):
        source, unwanted = FOLDER / part, shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder, ignore=unwanted, dirs_exist_ok=True)
    _git(folder, "init", "--quiet", f"--initial-branch={_BRANCH}")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message=Sell things at a kiosk")
    return _git(folder, "rev-parse", "HEAD")


def intent_of(repository: Path, environment: Mapping[str, str]) -> Json:
    """The intent that the CLI writes for the repository."""
    options = ("--goal", GOAL, "--tests", TESTS, "--command", TEST_COMMAND)
    intent: Json = json.loads(_sisu(environment, repository, "intent", "from-git", *options))
    return intent


def _take_branch(stack: LabStack, run: str, repository: Path, checkout: Path, print_line: PrintLine) -> None:
    """Fetch the run's branch into a clone, and compare its tree with the base commit plus the approved changes."""
    shutil.rmtree(checkout, ignore_errors=True)
    _git(repository, "clone", "--quiet", str(repository), str(checkout))
    print_line(f"  $ git clone {repository} {checkout} && cd {checkout}")
    print_line(f"  $ sisu run apply {run} --branch")
    _sisu(stack.environment, checkout, "run", "apply", run, "--branch")
    branch = f"sisu/{run}"
    print_line(indented(_git(checkout, "log", "--format=commit %h by %an%n%n%B", f"{_BRANCH}..{branch}"), MARGIN))
    print_line(indented(_git(checkout, "diff", "--stat", _BRANCH, branch), "    |"))
    _run(checkout, ["git", "apply", "--index", "-"], stdin=_sisu(stack.environment, checkout, "run", "diff", run))
    expected, tree = _git(checkout, "write-tree"), _git(checkout, "rev-parse", f"{branch}^{{tree}}")
    parent, base = _git(checkout, "rev-parse", f"{branch}^"), _git(checkout, "rev-parse", _BRANCH)
    print_line(
        f"  $ sisu run diff {run} | git apply --index && git write-tree && git rev-parse '{branch}^{{tree}}'"
    )
    print_line(f"    {expected}\n    {tree}")
    expect(parent == base, f"the parent of {branch} is {parent}, not the base commit {base}")
    expect(tree == expected, f"the tree of {branch} is {tree}, not {expected}")
    print_line(f"  branch           {branch}: its tree is that of {base[:12]} with the approved changes")


def _git(folder: Path, *arguments: str) -> str:
    """The output of git as text without the line end. Raises LabFailed."""
    return _run(folder, ["git", *arguments]).decode().rstrip()


def _sisu(environment: Mapping[str, str], folder: Path, *arguments: str) -> bytes:
    """The output of a command of ours. Raises LabFailed."""
    return _run(folder, [sys.executable, "-m", "sisu_pipeline.cli", *arguments], environment)


def _run(
    folder: Path, command: list[str], environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> bytes:
    variables = {**(environment or child_environment()), **_PLAIN_GIT, **_COMMIT}
    try:
        done = subprocess.run(command, cwd=folder, input=stdin, env=variables, capture_output=True, check=False)
    except FileNotFoundError:
        raise LabFailed(f"{command[0]} is not installed") from None
    if done.returncode:
        raise LabFailed(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
