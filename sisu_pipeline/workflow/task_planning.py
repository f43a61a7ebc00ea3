"""The tasks of ExecuteST, derived from stored rows wherever they are needed: to enqueue and to execute them."""

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain import budget
from sisu_pipeline.domain.changes.declared_setup import SetupOrder
from sisu_pipeline.domain.changes.plan_changes import files_after
from sisu_pipeline.domain.changes.repository_base import tree_key
from sisu_pipeline.domain.changes.workspace_files import intent_files
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.steps import execute
from sisu_pipeline.steps.execute import FanOut
from sisu_pipeline.store import bases, intents, plans, steps, tasks
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_terms
from sisu_pipeline.workflow.run_failure import ending_on_failure


def plan_tasks(dependencies: Dependencies, intent_id: str, retry: int | None = None) -> FanOut:
    """The tasks of ExecuteST: `plan_run` without the run."""
    return plan_run(dependencies, intent_id, retry)[1]


def plan_run(
    dependencies: Dependencies, intent_id: str, retry: int | None = None, dagster_run_id: str | None = None
) -> tuple[Run, FanOut]:
    """The run and the tasks of its ExecuteST: the same on every call, from the approved plan and the intent.

    `retry` is the number of the retry whose tasks are planned, by default the run's current one. Raises
    BudgetExceeded over `maxFanout`.
    """
    with ending_on_failure(dependencies, run_id(intent_id)):
        with dependencies.database.connect() as connection:
            run = ownership.entered(connection, intent_id, dagster_run_id)
            intent = intents.verified(connection, run.intent_id)
            failures = tasks.failures_before(connection, run.id, run.retry_count if retry is None else retry)
            version = plans.current(connection, run.id)
            build = steps.output(connection, run.id, StepId.DECIDE)["structured"]
            approved = plan_terms.approved_tasks(dependencies, connection, run, version, build)
            base = bases.find(connection, run.id)
            setup = plans.setup(connection, run.id, version)
            changes = None if base is None else plans.changes_sha256(connection, run.id, version)
        tree = None if base is None or changes is None else tree_key(base.tree, changes)
        files = {} if tree is not None else files_after(version.read(), intent_files(intent))
        planned = execute.build_tasks(
            run.intent_id,
            run.id,
            approved,
            run.recipe_hash,
            files,
            failures,
            tree,
            None if setup is None else SetupOrder(setup, run.tenant_id),
        )
        budget.check_fan_out(run.budget, len(planned))
        return run, planned
