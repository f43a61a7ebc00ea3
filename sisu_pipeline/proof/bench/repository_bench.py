"""A repository of many files: the time until its plan is shown, and how fast tasks start on it."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from resources.planner.acp.scratch import GitScratch
from sisu_pipeline.domain.changes.repository_base import RepositoryBase
from sisu_pipeline.proof.bench.bench_stack import MeasuredStack, measured_stack_in, temporary_folder
from sisu_pipeline.proof.bench.engine_bench import TIMEOUT_S, Report, ReportStatus
from sisu_pipeline.proof.bench.sandbox_bench import live_variables
from sisu_pipeline.workflow.dependencies import open_dependencies
from sisu_pipeline.workflow.run_base import open_base

TASKS = 50
MOST_SECONDS = 3.0
"""Target: the longest time that a repository adds until the plan is shown, beside the agent's own."""

MOST_RATIO = 1.5
"""Target: the time of the tasks on the repository in relation to that on an empty folder."""

_CHANGED = "src/folder_0/module_0.py"
_FILES_PER_FOLDER = 50
_IDENTITY = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")


def repository(files: int, rounds: int, workers: int, report_status: ReportStatus) -> Report:
    """Measure runs on a repository of `files` files against runs on an empty folder, `rounds` of each, in turns.

    `passed`: both targets are met.
    """
    with temporary_folder() as home:
        project = home / "projects" / "many"
        _make_project(project, files)
        variables = {**live_variables(TASKS, 1), "SISU_GIT_ALLOW": str(project.parent)}
        with measured_stack_in(home, variables, workers, 1) as stack:
            return _measure(stack, project, rounds, report_status)


def _measure(stack: MeasuredStack, project: Path, rounds: int, report_status: ReportStatus) -> Report:
    on_repository, on_nothing = [], []
    repo = {"path": str(project), "ref": "main"}
    _finished(stack, stack.submit("warm-up", _inputs()))
    for number in range(rounds):
        report_status(f"{number}/{rounds}")
        # Another change in each round, so that each run writes the files of its tasks.
        patches = [{"targetPath": _CHANGED, "postimageContent": f"x = {number + 1}\n"}]
        on_repository.append(
            _finished(stack, stack.submit(f"repository {number}", _inputs(repo=repo, patches=patches)))
        )
        on_nothing.append(_finished(stack, stack.submit(f"empty {number}", _inputs())))
    report_status("the agent's working directory")
    scratch = _scratch_seconds(stack, on_repository[0])
    repository, nothing = _latencies(stack, on_repository), _latencies(stack, on_nothing)
    plan, tasks = repository["submit_to_waiting"], repository["approve_to_end"]
    empty_plan, empty_tasks = nothing["submit_to_waiting"], nothing["approve_to_end"]
    others = statistics.median(plan[1:] or plan)
    # The first run fetches the repository.
    added = max(plan[0], others) - statistics.median(empty_plan) + sum(scratch.values())
    # Of runs that follow each other, so that other work on the machine slows both down.
    ratio = statistics.median(ours / theirs for ours, theirs in zip(tasks, empty_tasks, strict=True))
    return {
        "passed": added <= MOST_SECONDS and ratio <= MOST_RATIO,
        "files": sum(path.is_file() for path in (project / "src").rglob("*")),
        "tasks": TASKS,
        "rounds": rounds,
        "submit_to_plan_s": {
            "first": round(plan[0], 3),
            "median_of_the_others": round(others, 3),
            "empty_folder_median": round(statistics.median(empty_plan), 3),
        },
        "agent_directory_s": {name: round(seconds, 3) for name, seconds in scratch.items()},
        "added_until_plan_s": round(added, 3),
        "approve_to_end_s": {
            "repository_median": round(statistics.median(tasks), 3),
            "empty_folder_median": round(statistics.median(empty_tasks), 3),
        },
        "tasks_per_s": {
            "repository": round(TASKS / statistics.median(tasks), 1),
            "empty_folder": round(TASKS / statistics.median(empty_tasks), 1),
        },
        "ratio": round(ratio, 3),
    }


def _inputs(**others: object) -> dict[str, object]:
    return {"tests": [f"t{number}" for number in range(TASKS)], "testCommand": "true", **others}


def _finished(stack: MeasuredStack, workflow_id: str) -> str:
    """The run's workflow id once it has waited, was approved and succeeded."""
    stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S)
    stack.approve(workflow_id)
    stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S)
    return workflow_id


def _latencies(stack: MeasuredStack, workflow_ids: Sequence[str]) -> dict[str, list[float]]:
    rows = stack.rows("bench.latencies", workflow_ids=[*workflow_ids])
    return {name: [float(row[name]) for row in rows] for name in ("submit_to_waiting", "approve_to_end")}


def _scratch_seconds(stack: MeasuredStack, workflow_id: str) -> dict[str, float]:
    """The seconds in which the working directory of an agent is filled, and its difference is read."""
    base = RepositoryBase(**stack.row("bench.base_of", workflow_id=workflow_id))
    git = open_base(open_dependencies(stack.process.settings), base)
    folder = stack.process.settings.home / "bench-scratch"
    folder.mkdir()
    scratch = GitScratch(git, base.commit, base.subdirectory)
    began = time.monotonic()
    scratch.fill(folder)
    filled = time.monotonic()
    (folder / _CHANGED).write_text("x = 0\n")
    changed = time.monotonic()
    scratch.changes(folder)
    return {"fill": filled - began, "difference": time.monotonic() - changed}


def _make_project(folder: Path, files: int) -> None:
    for number in range(files):
        path = folder / "src" / f"folder_{number // _FILES_PER_FOLDER}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {number}\n" + f"VALUE_{number} = {number}\n" * 20)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", "--all")
    _git(folder, *_IDENTITY, "commit", "--quiet", "-m", "first")


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run([shutil.which("git") or "git", *arguments], cwd=folder, check=True, capture_output=True)
