"""Recipes: immutable versions of caps, network, policy and push. The newest counts for runs that name none."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.approval_policy import DEFAULT_POLICY
from sisu_pipeline.contracts.recipe import DEFAULT_CHANGE_REQUESTS, PushTarget, RecipeDefinition
from sisu_pipeline.domain.canonical import same_json, sha256_json
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store.records import fetch_all, fetch_first, fetch_one, fetch_value
from sisu_pipeline.store.rules import policies


@dataclass(frozen=True)
class StoredRecipe:
    """A version of a recipe, with who applied it: a token's owner, or None while no token is required."""

    id: str
    name: str
    version: int
    queue_name: str
    max_concurrency: int
    max_steps: int
    max_sandbox_minutes: int
    net: bool | None
    max_change_requests: int
    policy_id: str
    push_remote: str | None
    hash: str
    applied_by: str | None
    channel: str
    created_at: datetime

    def read(self) -> RecipeDefinition:
        """The recipe as `apply` read it."""
        return RecipeDefinition(
            name=self.name,
            max_concurrency=self.max_concurrency,
            max_steps=self.max_steps,
            max_sandbox_minutes=self.max_sandbox_minutes,
            net=self.net,
            max_change_requests=self.max_change_requests,
            policy=self.policy_id,
            push=self.push,
        )

    @property
    def push(self) -> PushTarget | None:
        """Where branches are pushed."""
        return None if self.push_remote is None else PushTarget(remote=self.push_remote)


def versions(connection: Connection, name: str) -> list[StoredRecipe]:
    """All versions of a recipe, the newest first. Raises NotFound."""
    found = fetch_all(connection, "recipes.versions", StoredRecipe, {"name": name})
    if not found:
        raise NotFound(f"recipe not found: {name}")
    return found


def newest_of_each(connection: Connection) -> list[StoredRecipe]:
    """The newest version of each recipe, by name."""
    return fetch_all(connection, "recipes.newest_of_each", StoredRecipe)


def push_remote(connection: Connection, recipe_id: str) -> str | None:
    """Where a recipe version pushes branches: `origin`, an https URL or a folder; None for nowhere."""
    remote: str | None = fetch_value(connection, "recipes.push_remote", {"id": recipe_id})
    return remote


def apply(
    connection: Connection, recipe: RecipeDefinition, applied_by: str | None, channel: str
) -> tuple[StoredRecipe, bool]:
    """Store a recipe as its next version; returns it, and whether the newest version had this content already.

    Raises NotFound when its policy does not exist.
    """
    policies.lock(connection)
    policies.newest(connection, recipe.policy)
    current = fetch_first(connection, "recipes.newest", StoredRecipe, {"name": recipe.name})
    if current is not None and same_json(current.read().to_json(), recipe.to_json()):
        return current, True
    version = 1 if current is None else current.version + 1
    values = {
        "id": f"rcp_{recipe.name.replace('-', '_')}_v{version}",
        "name": recipe.name,
        "version": version,
        "max_concurrency": recipe.max_concurrency,
        "max_steps": recipe.max_steps,
        "max_sandbox_minutes": recipe.max_sandbox_minutes,
        "hash": content_hash(recipe, version),
        "net": recipe.net,
        "max_change_requests": recipe.max_change_requests,
        "policy_id": recipe.policy,
        "push_remote": recipe.push and recipe.push.remote,
        "applied_by": applied_by,
        "channel": channel,
    }
    return fetch_one(connection, "recipes.insert", StoredRecipe, values), False


def content_hash(recipe: RecipeDefinition, version: int) -> str:
    """The hash of a version. Defaults of newer members are left out: they are what recipes had before."""
    content: dict[str, Any] = {
        "name": recipe.name,
        "version": version,
        "queueName": "intentQ",
        "maxConcurrency": recipe.max_concurrency,
        "maxSteps": recipe.max_steps,
        "maxSandboxMinutes": recipe.max_sandbox_minutes,
    }
    if recipe.net is not None:
        content["net"] = recipe.net
    if recipe.max_change_requests != DEFAULT_CHANGE_REQUESTS:
        content["maxChangeRequests"] = recipe.max_change_requests
    if recipe.policy != DEFAULT_POLICY:
        content["policy"] = recipe.policy
    if recipe.push is not None:
        content["push"] = recipe.push.to_json()
    return sha256_json(content)
