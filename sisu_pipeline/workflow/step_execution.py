"""The rooms behind the ops: what each step does, with no Dagster or DBOS in sight.

Every function starts by looking for the step's committed row and returns it when it is there. A failure
ends the run before it is raised again (`ending.py`).
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace

from resources.planner.planner_port import Question
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from sisu_pipeline.contracts.step_outputs import Build, PatchedPlan, Plan, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain import budget, forms
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps import apply_patch, compile, decide, execute, gate_terms
from sisu_pipeline.steps.execute import FanOut, TaskDefaults, TaskResult, Template
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import answers, gates, intents, plans, runs, steps, tasks
from sisu_pipeline.store.plans import Version
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import RunEnded, ending_on_failure


class PlanRejected(Exception):
    """A person said no."""


class NobodyAnswered(Exception):
    """The deadline of the question passed without an answer."""


class SandboxExecutionFailed(Exception):
    """At least one task did not end well."""


def compile_intent(dependencies: Dependencies, intent_id: str) -> StepResult:
    """CompileST: plan the intent."""

    def work(run: Run, intent: Intent) -> StepResult:
        question = Question("plan", compile.plan_prompt(intent), intent)
        result = compile.compile_intent(run.id, intent, dependencies.planner.answer(question))
        if result.gate is not None and result.gate.form is not None:
            forms.check_form(result.gate.form["schema"])
        return _with_terms(dependencies, intent, result)

    return _step(dependencies, intent_id, StepId.COMPILE, work)


def apply_patches(dependencies: Dependencies, intent_id: str) -> StepResult | None:
    """ApplyPatchST: apply the plan's patches in the run's workspace and open the plan gate.

    None while the run's question has no answer.
    """
    with dependencies.database.connect() as connection:
        asked = answers.asked(connection, runs.get(connection, intent_id).id)
    if asked.is_open and asked.answered is None:
        return None

    def work(run: Run, intent: Intent) -> StepResult:
        if asked.answered is not None and asked.answered.answer is None:
            raise NobodyAnswered("Ask-user gate timed out")
        plan = Plan.from_json(_output(dependencies, run, StepId.COMPILE))
        workspace = patching.workspace_of(dependencies.workspaces, run.id)
        patching.seed_workspace(workspace, intent)
        applied = patching.apply(dependencies.database, workspace, run.id, plan.patch_plan or [])
        answer = None if asked.answered is None else asked.answered.answer
        return _with_terms(dependencies, intent, apply_patch.patched_plan(run.id, plan, applied, answer))

    def again(run: Run, intent: Intent) -> None:
        # The failure before a retry took the patches back. A plan that a person changed is DecideST's to apply.
        if run.retry_count and not run.status.is_terminal and not _plan(dependencies, run).is_edited:
            work(run, intent)

    return _step(dependencies, intent_id, StepId.APPLY_PATCH, work, again)


def decide_plan(dependencies: Dependencies, intent_id: str) -> StepResult | None:
    """DecideST: turn the approved plan into what to execute; None while nobody has decided."""
    with dependencies.database.connect() as connection:
        run = runs.get(connection, intent_id)
        decided = gates.decision(connection, run.id)
        if decided is None:
            return None

    def work(run: Run, intent: Intent) -> StepResult:
        assert decided is not None
        if decided.decision is Decision.REJECTED:
            raise PlanRejected(f"Plan approval failed: no (rationale: {decided.notes or 'none given'})")
        with dependencies.database.connect() as connection:
            current = gates.plan_hash(connection, run.id)
        if decided.plan_sha256 not in (None, current):
            raise PlanRejected(f"Plan approval failed: it was for plan {decided.plan_sha256}, not {current}")
        plan = PatchedPlan.from_json(_output(dependencies, run, StepId.APPLY_PATCH))
        version = _plan(dependencies, run)
        if not version.is_edited:
            question = Question("build", decide.build_prompt(plan), intent)
            return decide.decide(run.id, dependencies.planner.answer(question))
        _apply_edited(dependencies, run, intent, version)
        plan = apply_patch.without_patches(version.read(), plan.answer)
        question = Question("build", decide.build_prompt(plan), intent)
        return decide.decide(run.id, decide.following(dependencies.planner.answer(question), plan))

    def again(run: Run, intent: Intent) -> None:
        # As for ApplyPatchST: what a failure took back stands again.
        version = _plan(dependencies, run)
        if run.retry_count and not run.status.is_terminal and version.is_edited:
            _apply_edited(dependencies, run, intent, version)

    return _step(dependencies, intent_id, StepId.DECIDE, work, again)


def _plan(dependencies: Dependencies, run: Run) -> Version:
    """The plan that counts: the compiled one, or what a person made of it."""
    with dependencies.database.connect() as connection:
        return plans.current(connection, run.id)


def _apply_edited(dependencies: Dependencies, run: Run, intent: Intent, version: Version) -> None:
    """The compiled plan's patches are taken back, the changed plan's applied."""
    workspace = patching.workspace_of(dependencies.workspaces, run.id)
    patching.seed_workspace(workspace, intent)
    patching.exchange(dependencies.database, workspace, run.id, version.read().patch_plan or [])


def _with_terms(dependencies: Dependencies, intent: Intent, result: StepResult) -> StepResult:
    """The result with its gate's deadline, as the intent or this deployment sets it."""
    if result.gate is None:
        return result
    return replace(result, gate=gate_terms.with_terms(result.gate, intent.constraints, dependencies.gate_ttl_s))


def plan_tasks(dependencies: Dependencies, intent_id: str, retry: int | None = None) -> FanOut:
    """The tasks of ExecuteST, the same on every call: from the stored decision, plan and intent.

    `retry` is the retry that asks for them, the run's current one when it is not given.
    """
    with dependencies.database.connect() as connection:
        run = runs.get(connection, intent_id)
    with ending_on_failure(dependencies, run.id):
        with dependencies.database.connect() as connection:
            intent = intents.verified(connection, run.intent_id)
            template = tasks.template(connection, run)
            failures = tasks.failures_before(connection, run.id, run.retry_count if retry is None else retry)
        return tasks_of(dependencies, run, intent, template, failures)


def tasks_of(
    dependencies: Dependencies, run: Run, intent: Intent, template: Template, failures: Mapping[int, int]
) -> FanOut:
    """The tasks of a run whose decision is stored. Raises BudgetExceeded over `maxFanout`."""
    plan = _plan(dependencies, run).read()
    decision = _output(dependencies, run, StepId.DECIDE)
    planned = execute.build_tasks(
        run.intent_id,
        run.id,
        Build.from_json(decision["structured"]),
        template,
        _defaults(dependencies, run),
        patching.workspace_files(intent, plan),
        failures,
    )
    budget.hold_fan_out(run.budget, len(planned))
    return planned


def _defaults(dependencies: Dependencies, run: Run) -> TaskDefaults:
    """What every task of the run gets; its recipe may decide about the network."""
    with dependencies.database.connect() as connection:
        net = tasks.network(connection, run)
    return dependencies.task_defaults if net is None else replace(dependencies.task_defaults, net=net)


def collect(dependencies: Dependencies, intent_id: str) -> StepResult:
    """ExecuteST's end: every task has its row; merge them."""

    def work(run: Run, intent: Intent) -> StepResult:
        with dependencies.database.connect() as connection, closing(tasks.results(connection, run.id)) as results:
            merged = execute.merge(map(_kept, results))
        _hold_wall_clock(dependencies, run)
        _hold_usage(dependencies, run)
        return merged

    return _step(dependencies, intent_id, StepId.EXECUTE, work)


def _kept(result: TaskResult) -> TaskResult:
    """The result, unless the infrastructure gave up on its task: that is none to keep (reference J18)."""
    if result.err_code.is_retryable:
        raise SandboxExecutionFailed(
            f"Step executeTask has exceeded its maximum of {execute.MAX_ATTEMPTS} retries: "
            f"task {result.key} [{result.err_code}] {result.stderr}"
        )
    return result


def _hold_wall_clock(dependencies: Dependencies, run: Run) -> None:
    if run.budget is not None:
        with dependencies.database.connect() as connection:
            age = steps.now(connection) - run.created_at
        budget.hold_wall_clock(run.budget, int(age.total_seconds() * 1000))


def _hold_usage(dependencies: Dependencies, run: Run) -> None:
    if run.budget is not None:
        with dependencies.database.connect() as connection:
            usage = tasks.usage(connection, run.id)
        budget.hold_usage(run.budget, usage)


def finish(dependencies: Dependencies, intent_id: str, result: StepResult) -> None:
    """After ExecuteST is committed: the run succeeded, or a task failed and the run ends so.

    What has ended stays so, and is said again: whoever ended it may have died before Dagster heard of it.
    """
    with dependencies.database.connect() as connection:
        run = runs.get(connection, intent_id)
    if run.status is RunStatus.SUCCEEDED:
        return
    if run.status.is_terminal:
        raise RunEnded(f"run {run.id} is {run.status}: {run.error}")
    with ending_on_failure(dependencies, run.id):
        code = ErrorCode(result.output["errCode"])
        if code is not ErrorCode.NONE:
            failed = sum(task["errCode"] != "NONE" for task in result.output["raw"]["tasks"])
            total = len(result.output["raw"]["tasks"])
            raise SandboxExecutionFailed(f"SBX execution failed [{code}]: {failed} of {total} tasks")
        with dependencies.database.connect() as connection:
            runs.move(connection, runs.lock(connection, run.id), RunStatus.SUCCEEDED)
            crash_point("run.succeed.before")
        crash_point("run.succeed.after")


def commit(dependencies: Dependencies, intent_id: str, result: StepResult) -> None:
    """Keep a step's result: output, artifacts and gate in one transaction."""
    if result.is_replay:
        return
    with ending_on_failure(dependencies, run_id(intent_id)), dependencies.database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if run.status.is_terminal:
            raise RunEnded(f"run {run.id} ended while {result.step} was working")
        steps.commit(connection, run, result, dependencies.blobs)
        crash_point(f"{result.step}.commit.before")
    crash_point(f"{result.step}.commit.after")


def _step(
    dependencies: Dependencies,
    intent_id: str,
    step: StepId,
    work: Callable[[Run, Intent], StepResult],
    again: Callable[[Run, Intent], None] = lambda run, intent: None,
) -> StepResult:
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            run = runs.get(connection, intent_id)
            earlier = steps.stored(connection, run.id, step)
            if earlier is None and run.status.is_terminal:
                raise RunEnded(f"run {run.id} is {run.status}; {step} does not run")
            intent = intents.verified(connection, run.intent_id)
            started_at = steps.now(connection)
        if earlier is not None and not _is_superseded(run, earlier):
            again(run, intent)
            return earlier
        result = work(run, intent)
        crash_point(f"{step}.work.after")
        if step is not StepId.EXECUTE:  # which holds its limits itself
            _hold_wall_clock(dependencies, run)
        return replace(result, started_at=started_at)


def _is_superseded(run: Run, earlier: StepResult) -> bool:
    """Whether a stored ExecuteST is a failure of before the current retry, whose tasks have been asked again."""
    if earlier.step is not StepId.EXECUTE or run.status.is_terminal:
        return False
    return earlier.output["errCode"] != ErrorCode.NONE and earlier.attempt <= execute.MAX_ATTEMPTS * run.retry_count


def stored_output(dependencies: Dependencies, intent_id: str, step: StepId) -> dict[str, object]:
    """A step's committed output. Raises LookupError before it is there."""
    with dependencies.database.connect() as connection:
        return _output(dependencies, runs.get(connection, intent_id), step)


def _output(dependencies: Dependencies, run: Run, step: StepId) -> dict[str, object]:
    with dependencies.database.connect() as connection:
        earlier = steps.stored(connection, run.id, step)
    if earlier is None:
        raise LookupError(f"{step} of {run.id} has no row yet")
    return earlier.output
