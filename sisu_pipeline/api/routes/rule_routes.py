"""Recipes and approval policies: everyone reads them, operators apply versions of them."""

from typing import Any

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.path_parameters import PolicyReference, RecipeReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.schemas.rule_schemas import (
    AppliedPolicy,
    AppliedRecipe,
    Policies,
    PolicyView,
    Recipes,
    RecipeView,
)
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.approval_policy import ApprovalPolicy
from sisu_pipeline.contracts.recipe import RecipeDefinition
from sisu_pipeline.store.rules import policies, recipes
from sisu_pipeline.store.rules.policies import StoredPolicy
from sisu_pipeline.store.rules.recipes import StoredRecipe
from sisu_pipeline.workflow import run_push

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["rules"])


@router.get("/policies", response_model=Policies, responses=documented(400))
def list_policies(state: AppStateOf) -> Response:
    """The newest version of each approval policy."""
    with state.pool.snapshot() as connection:
        found = policies.newest_of_each(connection)
    return reply(Policies(policies=[PolicyView(**_policy(stored)) for stored in found]))


@router.get("/policies/{policy_id}", response_model=Policies, responses=documented(400, 404))
def show_policy(policy_id: PolicyReference, state: AppStateOf) -> Response:
    """All versions of an approval policy, the newest first."""
    with state.pool.snapshot() as connection:
        found = policies.versions(connection, policy_id)
    return reply(Policies(policies=[PolicyView(**_policy(stored)) for stored in found]))


@router.post(
    "/policies",
    status_code=201,
    response_model=AppliedPolicy,
    responses={
        200: {"model": AppliedPolicy, "description": "The newest version has this content already."},
        **documented(400, 413),
    },
    openapi_extra=request_body(ApprovalPolicy, required=True),
)
def apply_policy(raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Store an approval policy as its next version; runs that start from now on keep it."""
    policy = parse(raw, ApprovalPolicy)
    with state.pool.connect() as connection:
        stored, is_replay = policies.apply(connection, policy, caller.name, channel)
    return reply(AppliedPolicy(**_policy(stored), is_replay=is_replay), 200 if is_replay else 201)


@router.get("/recipes", response_model=Recipes, responses=documented(400))
def list_recipes(state: AppStateOf) -> Response:
    """The newest version of each recipe."""
    with state.pool.snapshot() as connection:
        found = recipes.newest_of_each(connection)
    return reply(Recipes(recipes=[RecipeView(**_recipe(stored)) for stored in found]))


@router.get("/recipes/{name}", response_model=Recipes, responses=documented(400, 404))
def show_recipe(name: RecipeReference, state: AppStateOf) -> Response:
    """All versions of a recipe, the newest first."""
    with state.pool.snapshot() as connection:
        found = recipes.versions(connection, name)
    return reply(Recipes(recipes=[RecipeView(**_recipe(stored)) for stored in found]))


@router.post(
    "/recipes",
    status_code=201,
    response_model=AppliedRecipe,
    responses={
        200: {"model": AppliedRecipe, "description": "The newest version has this content already."},
        **documented(400, 404, 413),
    },
    openapi_extra=request_body(RecipeDefinition, required=True),
)
def apply_recipe(raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Store a recipe as its next version; runs that start from now on keep it. 404 if its policy is unknown."""
    recipe = parse(raw, RecipeDefinition)
    run_push.check_target(state.dependencies, recipe.push)
    with state.pool.connect() as connection:
        stored, is_replay = recipes.apply(connection, recipe, caller.name, channel)
    return reply(AppliedRecipe(**_recipe(stored), is_replay=is_replay), 200 if is_replay else 201)


def _policy(stored: StoredPolicy) -> dict[str, Any]:
    version = stored.read()
    return {
        "id": stored.id,
        "version": stored.version,
        "sha256": stored.sha256,
        "policy": version.policy,
        "applied_by": stored.applied_by,
        "channel": stored.channel,
        "applied_at": stored.applied_at,
    }


def _recipe(stored: StoredRecipe) -> dict[str, Any]:
    return {
        "id": stored.id,
        "name": stored.name,
        "version": stored.version,
        "hash": stored.hash,
        "max_concurrency": stored.max_concurrency,
        "max_steps": stored.max_steps,
        "max_sandbox_minutes": stored.max_sandbox_minutes,
        "net": stored.net,
        "max_change_requests": stored.max_change_requests,
        "policy": stored.policy_id,
        "push": stored.push,
        "applied_by": stored.applied_by,
        "channel": stored.channel,
        "applied_at": stored.created_at,
    }
