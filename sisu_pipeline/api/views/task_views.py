"""Views of the tasks of a run, and their outputs as one text."""

from collections.abc import Iterator

from resources.database import Connection
from sisu_pipeline.api.schemas.task_schemas import TaskPage, TaskView
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.identity import artifact_uri, checked_reference
from sisu_pipeline.store import plans, runs
from sisu_pipeline.store.outputs import run_results
from sisu_pipeline.store.outputs.run_results import TaskOutcome

TAIL = 4000
"""Characters of each output in a view."""
_WHOLE = 2**31 - 1


def task_page(
    connection: Connection, run_reference: str, *, after: int, limit: int, is_failed: bool | None
) -> TaskPage:
    """A page of the tasks that have ended. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    # One more than requested shows whether another page follows.
    found = run_results.tasks_of(connection, run.id, after=after, limit=limit + 1, is_failed=is_failed, tail=TAIL)
    shown, tests = found[:limit], tests_of(connection, run.id)
    return TaskPage(
        tasks=[_view(run.id, task, tests) for task in shown],
        next_after=shown[-1].position if len(found) > len(shown) else None,
    )


def tests_of(connection: Connection, run_id: str) -> dict[int, str | None]:
    """The tests of a run's tasks by position; empty for a plan that release 0.2.0 compiled and before a plan."""
    try:
        complete = plans.complete(connection, run_id, plans.current(connection, run_id).number)
    except NotFound:
        return {}
    return {} if complete is None else {task.position: task.test for task in complete.tasks}


def log(connection: Connection, run_id: str, tests: dict[int, str | None], position: int) -> tuple[int, str] | None:
    """The first ended task from a position on: its position, and its outputs under a heading; None without one."""
    found = run_results.tasks_of(connection, run_id, after=position - 1, limit=1, is_failed=None, tail=_WHOLE)
    return (found[0].position, "".join(_log(found[0], tests))) if found else None


def _log(task: TaskOutcome, tests: dict[int, str | None]) -> Iterator[str]:
    title = tests.get(task.position) or task.command
    yield f"== {task.position}: {title}: {task.result}, exit {task.exit}, {task.wall_ms / 1000:.1f} s ==\n"
    for name, text in (("stdout", task.stdout), ("stderr", task.stderr)):
        if text:
            yield f"-- {name} --\n{text}" + ("" if text.endswith("\n") else "\n")


def _view(run_id: str, task: TaskOutcome, tests: dict[int, str | None]) -> TaskView:
    def uri(name: str) -> str:
        return artifact_uri(run_id, StepId.EXECUTE, task.task_key, name)

    return TaskView(
        position=task.position,
        task_key=task.task_key,
        test=tests.get(task.position),
        command=task.command,
        result=task.result,
        err_code=task.err_code,
        exit=task.exit,
        wall_ms=task.wall_ms,
        attempt=task.attempt,
        stdout_tail=task.stdout,
        stderr_tail=task.stderr,
        stdout_uri=uri("stdout.log"),
        stderr_uri=uri("stderr.log"),
        index_uri=uri("index.json"),
    )
