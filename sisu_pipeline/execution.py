"""The rooms behind the ops: what each step does, with no Dagster or DBOS in sight.

Every function starts by looking for the step's committed row and returns it when it is there. A failure
takes the patches back and ends the run before it is raised again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import psycopg

from resources.planner.port import Question
from sisu_pipeline import patching
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox import ErrorCode
from sisu_pipeline.contracts.steps import Build, PatchedPlan, Plan, StepId
from sisu_pipeline.policy import budget_violation
from sisu_pipeline.services import Services
from sisu_pipeline.status import RunStatus
from sisu_pipeline.steps import apply_patch, compile, decide, execute
from sisu_pipeline.steps.execute import Task, Template
from sisu_pipeline.steps.result import StepResult
from sisu_pipeline.store import gates, intents, runs, steps, tasks
from sisu_pipeline.store.runs import Run


class RunEnded(Exception):
    """The run was ended (canceled, say) while a step of it was working."""


class PlanRejected(Exception):
    """A person said no."""


class SandboxExecutionFailed(Exception):
    """At least one task did not end well."""


class BudgetExceeded(Exception):
    """The run would use more than its budget."""


def compile_intent(services: Services, workflow_id: str) -> StepResult:
    """CompileST: plan the intent."""

    def work(run: Run, intent: Intent) -> StepResult:
        question = Question("plan", compile.plan_prompt(intent), intent)
        return compile.compile_intent(run.id, intent, services.planner.answer(question))

    return _step(services, workflow_id, StepId.COMPILE, work)


def apply_patches(services: Services, workflow_id: str) -> StepResult:
    """ApplyPatchST: apply the plan's patches in the run's workspace and open the plan gate."""

    def work(run: Run, intent: Intent) -> StepResult:
        plan = Plan.from_json(_output(services, run, StepId.COMPILE))
        workspace = patching.workspace_of(services.workspaces, run.id)
        patching.seed_workspace(workspace, intent)
        applied = patching.apply(services.database, workspace, run.id, plan.patch_plan or [])
        return apply_patch.patched_plan(run.id, plan, applied)

    def again(run: Run, intent: Intent) -> None:
        # The failure before a retry took the patches back.
        if run.retry_count and not run.status.is_terminal:
            work(run, intent)

    return _step(services, workflow_id, StepId.APPLY_PATCH, work, again)


def decide_plan(services: Services, workflow_id: str) -> StepResult | None:
    """DecideST: turn the approved plan into what to execute; None while nobody has decided."""
    with services.database.connect() as connection:
        run = runs.get(connection, workflow_id)
        decided = gates.decision(connection, run.id)
        if decided is None:
            return None

    def work(run: Run, intent: Intent) -> StepResult:
        assert decided is not None
        if decided.decision is Decision.REJECTED:
            raise PlanRejected(f"Plan approval failed: no (rationale: {decided.notes or 'none given'})")
        with services.database.connect() as connection:
            current = gates.plan_hash(connection, run.id)
        if decided.plan_sha256 not in (None, current):
            raise PlanRejected(f"Plan approval failed: it was for plan {decided.plan_sha256}, not {current}")
        plan = PatchedPlan.from_json(_output(services, run, StepId.APPLY_PATCH))
        question = Question("build", decide.build_prompt(plan), intent)
        return decide.decide(run.id, services.planner.answer(question))

    return _step(services, workflow_id, StepId.DECIDE, work)


def plan_tasks(services: Services, workflow_id: str, retry: int | None = None) -> tuple[Task, ...]:
    """The tasks of ExecuteST, the same on every call: from the stored decision, plan and intent.

    `retry` is the retry that asks for them, the run's current one when it is not given.
    """
    with services.database.connect() as connection:
        run = runs.get(connection, workflow_id)
    with ending_on_failure(services, run):
        with services.database.connect() as connection:
            intent = intents.verified(connection, run.intent_id)
            template = tasks.template(connection, run)
            failures = tasks.failures_before(connection, run.id, run.retry_count if retry is None else retry)
        return tasks_of(services, run, intent, template, failures)


def tasks_of(
    services: Services, run: Run, intent: Intent, template: Template, failures: Mapping[int, int]
) -> tuple[Task, ...]:
    """The tasks of a run whose decision is stored. Raises BudgetExceeded over `maxFanout`."""
    plan = Plan.from_json(_output(services, run, StepId.COMPILE))
    decision = _output(services, run, StepId.DECIDE)
    planned = execute.build_tasks(
        run.intent_id,
        run.id,
        Build.from_json(decision["structured"]),
        template,
        services.task_defaults,
        patching.workspace_files(intent, plan),
        failures,
    )
    limit = (run.budget or {}).get("maxFanout")
    if limit is not None and len(planned) > limit:
        raise BudgetExceeded(budget_violation("maxFanout", len(planned), limit, "runtime"))
    return planned


def collect(services: Services, workflow_id: str) -> StepResult:
    """ExecuteST's end: every task has its row; merge them."""

    def work(run: Run, intent: Intent) -> StepResult:
        with services.database.connect() as connection:
            results = tasks.results(connection, run.id)
        lost = next((result for result in results if result.err_code.is_retryable), None)
        if lost is not None:
            # The infrastructure gave up on a task: there is no result to keep as the step's (reference J18).
            raise SandboxExecutionFailed(
                f"Step executeTask has exceeded its maximum of {execute.MAX_ATTEMPTS} retries: "
                f"task {lost.key} [{lost.err_code}] {lost.stderr}"
            )
        return execute.merge(results)

    return _step(services, workflow_id, StepId.EXECUTE, work)


def finish(services: Services, workflow_id: str, result: StepResult) -> None:
    """After ExecuteST is committed: the run succeeded, or a task failed and the run ends so."""
    with services.database.connect() as connection:
        run = runs.get(connection, workflow_id)
    if run.status.is_terminal:
        return
    with ending_on_failure(services, run):
        code = ErrorCode(result.output["errCode"])
        if code is not ErrorCode.NONE:
            failed = sum(task["errCode"] != "NONE" for task in result.output["raw"]["tasks"])
            total = len(result.output["raw"]["tasks"])
            raise SandboxExecutionFailed(f"SBX execution failed [{code}]: {failed} of {total} tasks")
        with services.database.connect() as connection:
            runs.move(connection, runs.lock(connection, run.id), RunStatus.SUCCEEDED)


def commit(services: Services, workflow_id: str, result: StepResult) -> None:
    """Keep a step's result: output, artifacts and gate in one transaction."""
    with services.database.connect() as connection:
        run = runs.get(connection, workflow_id)
    if result.is_replay:
        return
    with ending_on_failure(services, run), services.database.connect() as connection:
        if runs.lock(connection, run.id).status.is_terminal:
            raise RunEnded(f"run {run.id} ended while {result.step} was working")
        steps.commit(connection, run, result, services.blobs)


@contextmanager
def ending_on_failure(services: Services, run: Run) -> Iterator[None]:
    """Ends the run when its step fails: patches taken back, status and error written, then raised again.

    A database that cannot be reached ends nothing: the segment is resumed when it is back.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, RunEnded):
        raise
    except Exception as failure:
        end_run(services, run.id, RunStatus.RETRIES_EXCEEDED, str(failure) or type(failure).__name__)
        raise


def end_run(services: Services, run_id: str, status: RunStatus, error: str) -> None:
    """Take the run's patches back and write its end; nothing when it has ended already."""
    workspace = patching.workspace_of(services.workspaces, run_id)
    try:
        patching.roll_back(services.database, workspace, run_id)
    except (patching.PatchMismatch, patching.PathNotAllowed, OSError) as failure:
        error = f"APPLY_PATCH_ROLLBACK_FAILED:{failure};source={error}"
    with services.database.connect() as connection:
        run = runs.lock(connection, run_id)
        if run.status.is_terminal:
            return
        if run.status is RunStatus.QUEUED:
            run = runs.move(connection, run, RunStatus.RUNNING)
        action = "NONE" if status is RunStatus.CANCELED else "REPAIR"
        runs.move(connection, run, status, error=error, next_action=action)


def _step(
    services: Services,
    workflow_id: str,
    step: StepId,
    work: Callable[[Run, Intent], StepResult],
    again: Callable[[Run, Intent], None] = lambda run, intent: None,
) -> StepResult:
    with services.database.connect() as connection:
        run = runs.get(connection, workflow_id)
        earlier = steps.stored(connection, run.id, step)
    if earlier is None and run.status.is_terminal:
        raise RunEnded(f"run {run.id} is {run.status}; {step} does not run")
    with ending_on_failure(services, run):
        with services.database.connect() as connection:
            intent = intents.verified(connection, run.intent_id)
            started_at = steps.now(connection)
        if earlier is not None and not _is_superseded(run, earlier):
            again(run, intent)
            return earlier
        return replace(work(run, intent), started_at=started_at)


def _is_superseded(run: Run, earlier: StepResult) -> bool:
    """Whether a stored ExecuteST is a failure of before the current retry, whose tasks have been asked again."""
    if earlier.step is not StepId.EXECUTE or run.status.is_terminal:
        return False
    return earlier.output["errCode"] != ErrorCode.NONE and earlier.attempt <= execute.MAX_ATTEMPTS * run.retry_count


def stored_output(services: Services, workflow_id: str, step: StepId) -> dict[str, object]:
    """A step's committed output. Raises LookupError before it is there."""
    with services.database.connect() as connection:
        return _output(services, runs.get(connection, workflow_id), step)


def _output(services: Services, run: Run, step: StepId) -> dict[str, object]:
    with services.database.connect() as connection:
        earlier = steps.stored(connection, run.id, step)
    if earlier is None:
        raise LookupError(f"{step} of {run.id} has no row yet")
    return earlier.output
