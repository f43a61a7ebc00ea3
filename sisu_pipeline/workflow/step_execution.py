"""The work of each step, which the Dagster ops call. This module uses neither Dagster nor DBOS.

Every step first reads the run's row and its own stored result, and returns that result when there is one. A step
that fails ends the run (`run_failure.py`) before it raises.

`dagster_run_id` is the Dagster run that executes a step and must own the intent (`ownership.py`). Callers that
execute steps without Dagster pass None; then the ownership is not checked.
"""

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from sisu_pipeline.contracts.step_outputs import PatchedPlan, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain import budget, forms
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps import apply_patch, compile, decide, execute, gate_terms
from sisu_pipeline.steps.execute import TaskResult
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import answers, gates, intents, plans, runs, steps, tasks
from sisu_pipeline.store.outputs import pushes
from sisu_pipeline.store.plans import Version
from sisu_pipeline.store.rules.decisions import RecordedDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, patching, run_base
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import agent_plans, plan_terms
from sisu_pipeline.workflow.run_failure import RunEnded, ending_on_failure


class PlanRejected(Exception):
    """The plan was rejected, or the approval is for another plan."""


class NobodyAnswered(Exception):
    """The deadline of the question passed without an answer."""


class SandboxExecutionFailed(Exception):
    """At least one task failed."""


@dataclass(frozen=True)
class _Start:
    """What every step reads before it works; `stored` is the step's earlier result, if it has one."""

    run: Run
    intent: Intent
    stored: StepResult | None
    started_at: datetime

    @property
    def has_work(self) -> bool:
        """False when the step only returns its stored result.

        The failure before a retry rolled the patches back, so the steps that apply them do so again.
        """
        return self.stored is None or (self.run.retry_count > 0 and not self.run.status.is_terminal)


@dataclass(frozen=True)
class _Approved:
    """The approved plan: as ApplyPatchST stored it, its newest version, and the hash that was approved."""

    patched: PatchedPlan
    version: Version
    sha256: str | None


def compile_intent(dependencies: Dependencies, intent_id: str, dagster_run_id: str | None = None) -> StepResult:
    """CompileST: plan the intent."""
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            start = _start(connection, ownership.entered(connection, intent_id, dagster_run_id), StepId.COMPILE)
        if start.stored is not None:
            return start.stored
        base = run_base.resolve(dependencies, start.run.id, start.intent)
        answer = agent_plans.answer(dependencies, start.run)
        plan, files = plan_terms.compiled_plan(dependencies, start.run.id, start.intent, base, answer)
        setup = plan_terms.setup_of_plan(dependencies, start.intent, base, plan, files)
        with dependencies.database.connect() as connection:
            sealed = plan_terms.seal_compiled(
                dependencies, connection, start.run, start.intent, plan, files, base, setup
            )
        result = compile.compile_intent(start.run.id, start.intent, plan, sealed)
        if result.gate is not None and result.gate.form is not None:
            forms.check_form(result.gate.form["schema"])
        return _finished(dependencies, start, result)


def apply_patches(
    dependencies: Dependencies, intent_id: str, dagster_run_id: str | None = None
) -> StepResult | None:
    """ApplyPatchST: apply the plan's patches in the run's workspace and open the plan gate.

    None while the run's question waits for its answer.
    """
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            run = ownership.entered(connection, intent_id, dagster_run_id)
            asked = answers.asked(connection, run.id)
            if asked.is_open and asked.answered is None and not run.status.is_terminal:
                return None
            start = _start(connection, run, StepId.APPLY_PATCH)
            version = _plan_to_apply(connection, start)
        if version is None:
            return start.stored
        compiled = version.read()
        if asked.answered is not None and asked.answered.answer is None:
            raise NobodyAnswered("Ask-user gate timed out")
        workspace = run_base.prepare_workspace(dependencies, start.run.id, start.intent)
        applied = patching.apply(dependencies.database, workspace, run.id, compiled.patch_plan or [])
        answer = None if asked.answered is None else asked.answered.answer
        return _finished(
            dependencies, start, apply_patch.patched_plan(run.id, compiled, version.sha256, applied, answer)
        )


def _plan_to_apply(connection: Connection, start: _Start) -> Version | None:
    """The compiled plan; None when its patches are not to be applied. DecideST applies those of an edited plan."""
    if not start.has_work:
        return None
    version = plans.current(connection, start.run.id)
    return None if version.is_edited else version


def decide_plan(dependencies: Dependencies, intent_id: str, dagster_run_id: str | None = None) -> StepResult | None:
    """DecideST: turn the approved plan into what to execute. None while the plan waits for its decision."""
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            run = ownership.entered(connection, intent_id, dagster_run_id)
            decision = gates.decision(connection, run.id)
            if decision is None and not run.status.is_terminal:
                return None
            start = _start(connection, run, StepId.DECIDE)
            approved = _approved(connection, run, decision) if start.has_work else None
        if start.stored is None:
            return _finished(dependencies, start, _decide(dependencies, start, decision, approved))
        if approved is not None and approved.version.is_edited:
            _apply_edited(dependencies, start, approved.version)
        return start.stored


def _approved(connection: Connection, run: Run, decision: RecordedDecision | None) -> _Approved | None:
    """The plan that was approved; None when it was rejected."""
    if decision is None or decision.decision is Decision.REJECTED:
        return None
    patched = PatchedPlan.from_json(steps.output(connection, run.id, StepId.APPLY_PATCH))
    return _Approved(patched, plans.current(connection, run.id), gates.plan_hash(connection, run.id))


def _decide(
    dependencies: Dependencies, start: _Start, decision: RecordedDecision | None, approved: _Approved | None
) -> StepResult:
    """The build of the approved plan. Raises PlanRejected."""
    assert decision is not None, "a step without a decision and without a result does not start"
    if approved is None:
        raise PlanRejected(f"Plan approval failed: no (rationale: {decision.notes or 'none given'})")
    if decision.plan_sha256 != approved.sha256:
        raise PlanRejected(f"Plan approval failed: it was for plan {decision.plan_sha256}, not {approved.sha256}")
    patched, plan = approved.patched, approved.version.read()
    if approved.version.is_edited:
        _apply_edited(dependencies, start, approved.version)
        patched = apply_patch.without_patches(plan, patched.answer)
    if plan.test_command is None:
        # Compiled by release 0.2.0, whose plans do not name the command.
        plan = plan_terms.with_command(dependencies, start.intent, plan, patched)
    plan_terms.check_recorded_build(dependencies, start.intent, plan, decide.build_prompt(patched))
    return decide.decide(start.run.id, plan, patched)


def _apply_edited(dependencies: Dependencies, start: _Start, version: Version) -> None:
    """Roll the compiled plan's patches back and apply those of the edited plan."""
    workspace = run_base.prepare_workspace(dependencies, start.run.id, start.intent)
    patching.exchange(dependencies.database, workspace, start.run.id, version.read().patch_plan or [])


def collect(dependencies: Dependencies, intent_id: str, dagster_run_id: str | None = None) -> StepResult:
    """The end of ExecuteST: merge the results, of which every task has one."""
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            start = _start(connection, ownership.entered(connection, intent_id, dagster_run_id), StepId.EXECUTE)
            if start.stored is not None:
                return start.stored
            run = start.run
            with closing(tasks.results(connection, run.id)) as results:
                merged = execute.merge(map(_checked, results))
            spent = None if run.budget is None else (_age_ms(connection, run), tasks.usage(connection, run.id))
        if spent is not None:
            budget.check_wall_clock(run.budget, spent[0])
            budget.check_usage(run.budget, spent[1])
        return _finished(dependencies, start, merged)


def _checked(result: TaskResult) -> TaskResult:
    """The result. Raises SandboxExecutionFailed when the task used up its attempts without a result of its own."""
    if result.err_code.is_retryable:
        raise SandboxExecutionFailed(
            f"Step executeTask has exceeded its maximum of {execute.MAX_ATTEMPTS} retries: "
            f"task {result.key} [{result.err_code}] {result.stderr}"
        )
    return result


def finish(dependencies: Dependencies, intent_id: str, result: StepResult) -> None:
    """End the run once ExecuteST is committed: as succeeded, or as failed when a task failed.

    The end of a run that has ended already is reported again: the process that ended it may have died before
    Dagster recorded it. Raises RunEnded or SandboxExecutionFailed.
    """
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            run = runs.lock(connection, intent_id)
            if run.status is RunStatus.SUCCEEDED:
                return
            if run.status.is_terminal:
                raise RunEnded(f"run {run.id} is {run.status}: {run.error}")
            _check_succeeded(result)
            pushes.request(connection, run.id)
            runs.move(connection, run, RunStatus.SUCCEEDED)
            crash_point("run.succeed.before")
        crash_point("run.succeed.after")


def _check_succeeded(result: StepResult) -> None:
    code = ErrorCode(result.output["errCode"])
    if code is not ErrorCode.NONE:
        failed = sum(task["errCode"] != "NONE" for task in result.output["raw"]["tasks"])
        total = len(result.output["raw"]["tasks"])
        raise SandboxExecutionFailed(f"SBX execution failed [{code}]: {failed} of {total} tasks")


def commit(dependencies: Dependencies, intent_id: str, result: StepResult) -> None:
    """Store a step's result: its output, artifacts and gate in one transaction. Raises RunEnded."""
    if result.is_replay:
        return
    with ending_on_failure(dependencies, run_id(intent_id)), dependencies.database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if run.status.is_terminal:
            raise RunEnded(f"run {run.id} ended while {result.step} was working")
        steps.commit(connection, run, result, dependencies.blobs)
        crash_point(f"{result.step}.commit.before")
    crash_point(f"{result.step}.commit.after")


def stored_output(dependencies: Dependencies, intent_id: str, step: StepId) -> dict[str, Any]:
    """A step's committed output. Raises LookupError before the step is committed."""
    with dependencies.database.connect() as connection:
        return steps.output(connection, runs.get(connection, intent_id).id, step)


def _start(connection: Connection, run: Run, step: StepId) -> _Start:
    """Raises RunEnded when the run has ended and the step has no result."""
    stored = steps.stored(connection, run.id, step)
    if stored is not None and _is_superseded(run, stored):
        stored = None
    if stored is None and run.status.is_terminal:
        raise RunEnded(f"run {run.id} is {run.status}; {step} does not run")
    return _Start(run, intents.verified(connection, run.intent_id), stored, steps.now(connection))


def _is_superseded(run: Run, stored: StepResult) -> bool:
    """Whether a stored ExecuteST is the failure before the current retry, whose tasks run again."""
    if stored.step is not StepId.EXECUTE or run.status.is_terminal:
        return False
    return stored.output["errCode"] != ErrorCode.NONE and stored.attempt <= execute.MAX_ATTEMPTS * run.retry_count


def _finished(dependencies: Dependencies, start: _Start, result: StepResult) -> StepResult:
    """The step's result, to be committed; the stored one, when the step only applied its patches again."""
    if start.stored is not None:
        return start.stored
    if result.gate is not None:
        terms = gate_terms.with_terms(
            result.gate, start.intent.constraints, dependencies.gate_ttl_s, start.run.rules
        )
        result = replace(result, gate=terms)
    crash_point(f"{result.step}.work.after")
    if result.step is not StepId.EXECUTE and start.run.budget is not None:
        with dependencies.database.connect() as connection:
            age_ms = _age_ms(connection, start.run)
        budget.check_wall_clock(start.run.budget, age_ms)
    return replace(result, started_at=start.started_at)


def _age_ms(connection: Connection, run: Run) -> int:
    return int((steps.now(connection) - run.created_at).total_seconds() * 1000)
