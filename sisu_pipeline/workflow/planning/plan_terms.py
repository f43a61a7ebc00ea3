"""The terms of a run's complete plan: taken from the settings when it is compiled, from its rows ever after."""

from dataclasses import replace
from typing import Any

from resources.database import Connection
from resources.planner.planner_port import Question
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.planned_work import PinnedVersion, PlannedSetup, TemplateReference
from sisu_pipeline.contracts.step_outputs import PatchedPlan, Plan, PlannerOutput
from sisu_pipeline.domain.changes.declared_setup import check_setup, planned_setup, setup_of
from sisu_pipeline.domain.changes.plan_changes import Files, completed
from sisu_pipeline.domain.changes.repository_base import RepositoryBase, content_of
from sisu_pipeline.domain.changes.workspace_files import intent_files
from sisu_pipeline.domain.complete_plan import PlannedTasks, PlanTerms, SealedPlan, TaskTerms, seal
from sisu_pipeline.steps import apply_patch, compile, decide
from sisu_pipeline.store import plans, tasks
from sisu_pipeline.store.plans import Version
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import run_base, run_push
from sisu_pipeline.workflow.dependencies import Dependencies


def compiled_plan(
    dependencies: Dependencies,
    run_id: str,
    intent: Intent,
    base: RepositoryBase | None,
    answer: PlannerOutput | None = None,
) -> tuple[Plan, Files]:
    """The plan in a planner's answer to an intent, with its command and its completed patches, and its files.

    Without `answer`, the planner of the settings is asked.

    A planner whose plan does not name a command is asked for the build at once, before any approval.
    Raises PlannerUnavailable, PlannerAnswerInvalid, BuildDiffers, WorkspaceFilesInvalid, ChangeInvalid,
    PatchOutdated, ContractInvalid, GitRefused, or GitUnavailable.
    """
    if answer is None:
        prompt = compile.plan_prompt(content_of(intent, base))
        answer = dependencies.planner.answer(Question("plan", prompt, intent))
    answered = compile.read_plan(intent, answer)
    if base is None:
        files: Files = intent_files(intent)
        plan = completed(answered, files)
    else:
        files = run_base.files_of_plan(dependencies, run_id, base, answered)
        plan = completed(answered, files)
        run_base.check_result(dependencies, base, plan, files)
    if plan.test_command is not None:
        return plan, files
    patched = apply_patch.without_patches(plan, None)
    plan = with_command(dependencies, intent, plan, patched)
    check_recorded_build(dependencies, intent, plan, decide.build_prompt(patched))
    return plan, files


def setup_of_plan(
    dependencies: Dependencies, intent: Intent, base: RepositoryBase | None, plan: Plan, files: Files
) -> PlannedSetup | None:
    """The setup of a compiled plan, by the settings as they are now; None without a command to execute.

    Raises InputInvalid, GitRefused, or GitUnavailable.
    """
    wanted, defaults = setup_of(intent), dependencies.task_defaults
    if wanted is None or wanted.prepare is None:
        return None
    check_setup(intent, defaults.provider, defaults.setup)
    is_named = wanted.lock_files is not None
    present = [] if is_named else run_base.lock_files(dependencies, base, plan, files)
    return planned_setup(wanted, present, defaults.provider, defaults.setup)


def with_command(dependencies: Dependencies, intent: Intent, plan: Plan, patched: PatchedPlan) -> Plan:
    """The plan with the command of the planner's build. Raises what `compiled_plan` raises, except BuildDiffers."""
    question = Question("build", decide.build_prompt(patched), intent)
    build = decide.read_build(dependencies.planner.answer(question))
    return Plan.from_json({**plan.to_json(), "testCommand": build.test_command})


def seal_compiled(
    dependencies: Dependencies,
    connection: Connection,
    run: Run,
    intent: Intent,
    plan: Plan,
    files: Files,
    base: RepositoryBase | None,
    setup: PlannedSetup | None = None,
) -> SealedPlan:
    """The complete plan of a run whose plan was just compiled, by the settings and the recipe as they are now.

    Raises GitRefused when this deployment does not allow the remote that the recipe pushes to.
    """
    recipe = PinnedVersion(id=run.recipe_id, version=run.recipe_version, sha256=run.recipe_hash)
    tasks_terms, policy = _current_terms(dependencies, connection, run), plans.policy_of(run)
    push = None if base is None else run_push.planned(dependencies, connection, run, base)
    section = None if base is None else base.section
    declared = setup_of(intent)
    if declared is not None and declared.template is not None:
        template = TemplateReference(id=declared.template, key=tasks_terms.template.key)
        tasks_terms = replace(tasks_terms, template=template)
    return seal(plan, files, PlanTerms(tasks_terms, recipe, policy, section, push, setup))


def approved_tasks(
    dependencies: Dependencies, connection: Connection, run: Run, version: Version, build: dict[str, Any]
) -> PlannedTasks:
    """The tasks of an approved plan.

    A plan that release 0.2.0 compiled does not have them; its `build`, which DecideST stored, has.
    """
    planned = plans.planned_tasks(connection, run.id, version)
    if planned is not None:
        return planned
    terms = _current_terms(dependencies, connection, run)
    return PlannedTasks.of(build["test_command"], build["tests"], terms, quotes_tests=False)


def check_recorded_build(dependencies: Dependencies, intent: Intent, plan: Plan, prompt: str) -> None:
    """Raise BuildDiffers when a build is recorded for this question that the approved plan does not describe."""
    recorded = dependencies.planner.recorded(Question("build", prompt, intent))
    if recorded is not None:
        decide.check_agrees(decide.read_build(recorded), plan)


def _current_terms(dependencies: Dependencies, connection: Connection, run: Run) -> TaskTerms:
    allowed = tasks.network(connection, run)
    defaults = dependencies.task_defaults
    if allowed is not None:
        defaults = replace(defaults, net=allowed)
    return tasks.template(connection, run).terms(defaults)
