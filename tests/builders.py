"""Ready-made intents and runs, kept through the real policy and store."""

from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.approval_policy import ApprovalPolicy
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.contracts.recipe import RecipeDefinition
from sisu_pipeline.domain.policy import PolicyVersion
from sisu_pipeline.store import runs
from sisu_pipeline.store.rules import policies, recipes
from sisu_pipeline.store.rules.recipes import StoredRecipe
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import submission


def an_intent(
    goal: str = "Make the tests pass",
    *,
    inputs: dict[str, Any] | None = None,
    constraints: dict[str, Any] | None = None,
    connectors: list[str] | None = None,
) -> Intent:
    """An intent; another goal or other inputs are another intent."""
    return Intent(goal=goal, inputs=inputs or {}, constraints=constraints or {}, connectors=connectors)


def a_request(**request: Any) -> RunRequest:
    """A run request that policy admits, by its wire names: `a_request(tenantId="t-1")`."""
    return RunRequest.from_json({"queuePartitionKey": "team-a", **request})


def a_run(connection: Connection, intent: Intent | None = None, **request: Any) -> Run:
    """The queued run of an intent (kept here too); `request` by its wire names."""
    kept = submission.submit_intent(connection, intent or an_intent())
    submission.start_run(connection, kept.id, a_request(**request), "v1")
    return runs.get(connection, kept.id)


def apply_policy(connection: Connection, policy_id: str = "default", **rules: Any) -> PolicyVersion:
    """The next version of a policy with these rules, by their wire names; every seeded recipe has `default`."""
    stored, _ = policies.apply(connection, ApprovalPolicy.from_json({"id": policy_id, **rules}), None, "test")
    return stored.read()


def new_recipe(connection: Connection, name: str, **members: Any) -> StoredRecipe:
    """The first version of a recipe with generous caps and these members, by wire names."""
    caps = {"maxConcurrency": 1000, "maxSteps": 1000, "maxSandboxMinutes": 1000}
    return recipes.apply(connection, RecipeDefinition.from_json({"name": name, **caps, **members}), None, "test")[0]


def apply_recipe(connection: Connection, name: str, **changes: Any) -> StoredRecipe:
    """The next version of a recipe, by wire names: the newest one with these changes."""
    newest = recipes.versions(connection, name)[0].read().to_json()
    content = {key: value for key, value in (newest | changes).items() if value is not None}
    return recipes.apply(connection, RecipeDefinition.from_json(content), None, "test")[0]
