"""Policy admits or refuses, with the first broken rule, before anything is written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.intent import Lane, RunRequest
from sisu_pipeline.domain.policy import Admission, PolicyViolation, Recipe, admit, budget_violation
from tests.builders import a_request

BUDGET = {"maxFanout": 5, "maxSBXMinutes": 5, "maxArtifactsMB": 5, "maxRetriesPerStep": 5, "maxWallClockMS": 5}


def a_recipe(name: str = "compile-default", version: int = 1, queue: str = "intentQ") -> Recipe:
    return Recipe(f"rcp_{name}_{version}", name, version, queue, 10, 32, 15, "0" * 64)


RECIPES = [
    a_recipe(),
    a_recipe("sandbox-default", 1),
    a_recipe("sandbox-default", 3),
    a_recipe("sandbox-default", 2),
    a_recipe("compile-only", 1, queue="compileQ"),
]


def admitted(**request: Any) -> Admission:
    return admit(a_request(**request), RECIPES)


@pytest.mark.parametrize(
    ("request_", "recipe"),
    [
        ({}, "rcp_compile-default_1"),
        ({"recipeVersion": 1}, "rcp_compile-default_1"),
        ({"recipeName": "sandbox-default"}, "rcp_sandbox-default_3"),
        ({"recipeName": "sandbox-default", "recipeVersion": 2}, "rcp_sandbox-default_2"),
    ],
)
def test_the_recipe_is_the_one_named_else_the_default_in_its_highest_version(
    request_: dict[str, Any], recipe: str
) -> None:
    assert admitted(**request_).recipe.id == recipe


@pytest.mark.parametrize(
    ("request_", "lane", "priority"),
    [
        ({}, Lane.INTERACTIVE, 1),
        ({"lane": "interactive"}, Lane.INTERACTIVE, 1),
        ({"lane": "batch"}, Lane.BATCH, 1000),
        ({"lane": "batch", "priority": 1}, Lane.BATCH, 1),
        ({"priority": 7}, Lane.INTERACTIVE, 7),
    ],
)
def test_a_lane_gives_the_priority_unless_one_is_given(request_: dict[str, Any], lane: Lane, priority: int) -> None:
    admission = admitted(**request_)
    assert (admission.lane, admission.priority) == (lane, priority)


def test_what_the_run_will_say_comes_from_the_request() -> None:
    admission = admitted(tenantId="t", traceId="trace", timeoutMS=4, budget=BUDGET, queuePartitionKey="p")
    assert (admission.tenant_id, admission.trace_id, admission.timeout_ms) == ("t", "trace", 4)
    assert (admission.budget, admission.queue_partition_key) == (BUDGET, "p")


# A request that breaks every rule, and for each rule, in order, its message and what mends it.
BROKEN = {
    "recipeName": "nowhere",
    "queueName": "sbxQ",
    "workload": {"concurrency": 11, "steps": 33, "sandboxMinutes": 16},
    "timeoutMS": 6,
    "budget": BUDGET,
    "tenantId": " ",
    "taskKey": "\t",
    "queuePartitionKey": "  ",
}
GENEROUS = dict.fromkeys(BUDGET, 1000)
RULES: list[tuple[str, dict[str, Any]]] = [
    ("recipe not found: nowhere", {"recipeName": None}),
    ("parent intent workflow must use intentQ (got sbxQ)", {"queueName": None}),
    ("budget:maxFanout: observed 33 > limit 5 (ingress)", {"budget": {**BUDGET, "maxFanout": 40}}),
    (
        "budget:maxSBXMinutes: observed 16 > limit 5 (ingress)",
        {"budget": {**BUDGET, "maxFanout": 40, "maxSBXMinutes": 40}},
    ),
    ("budget:maxWallClockMS: observed 6 > limit 5 (ingress)", {"budget": GENEROUS}),
    (
        "recipe cap exceeded: concurrency 11 > 10",
        {"workload": {"concurrency": 10, "steps": 33, "sandboxMinutes": 16}},
    ),
    (
        "recipe cap exceeded: steps 33 > 32",
        {"workload": {"concurrency": 10, "steps": 32, "sandboxMinutes": 16}},
    ),
    (
        "recipe cap exceeded: sandboxMinutes 16 > 15",
        {"workload": {"concurrency": 10, "steps": 32, "sandboxMinutes": 15}},
    ),
    ("tenantId must not be blank", {"tenantId": None}),
    ("taskKey must not be blank", {"taskKey": None}),
    (
        "queuePartitionKey is required for partitioned operations (queue: intentQ, isParent: true)",
        {"queuePartitionKey": "p"},
    ),
]


@pytest.mark.parametrize("rule", range(len(RULES)))
def test_the_first_broken_rule_is_the_one_reported(rule: int) -> None:
    request = dict(BROKEN)
    for _, mended in RULES[:rule]:
        request |= mended
    with pytest.raises(PolicyViolation) as refusal:
        admit(RunRequest.from_json(request), RECIPES)
    assert str(refusal.value) == RULES[rule][0]


def test_a_request_with_every_rule_mended_is_admitted() -> None:
    request = dict(BROKEN)
    for _, mended in RULES:
        request |= mended
    assert admit(RunRequest.from_json(request), RECIPES).recipe.name == "compile-default"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"recipeName": "compile-default", "recipeVersion": 2}, "recipe not found: compile-default@2"),
        ({"recipeVersion": 0}, "recipe not found: compile-default@0"),
        ({"recipeName": ""}, "recipe not found: "),
        ({"recipeName": "compile-only"}, "parent intent workflow must use intentQ (got compileQ)"),
        ({"queueName": "controlQ"}, "parent intent workflow must use intentQ (got controlQ)"),
    ],
)
def test_what_is_named_must_exist_and_fit_never_a_fallback(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyViolation) as refusal:
        admitted(**request_)
    assert str(refusal.value) == message


def test_a_recipe_of_another_queue_runs_when_the_request_names_intent_q() -> None:
    assert admitted(recipeName="compile-only", queueName="intentQ").recipe.name == "compile-only"


def test_the_partition_key_is_required() -> None:
    with pytest.raises(PolicyViolation, match="queuePartitionKey is required"):
        admit(RunRequest(), RECIPES)


def test_a_budget_says_what_was_seen_and_what_is_allowed() -> None:
    assert budget_violation("maxFanout", 3, 2, "runtime") == "budget:maxFanout: observed 3 > limit 2 (runtime)"


counts = st.integers(0, 60)
positive = st.integers(1, 60)
keys = st.text(" a", min_size=1, max_size=2)
requests = st.fixed_dictionaries(
    {},
    optional={
        "workload": st.fixed_dictionaries({"concurrency": counts, "steps": counts, "sandboxMinutes": counts}),
        "budget": st.fixed_dictionaries(
            dict.fromkeys(BUDGET, positive) | {"maxRetriesPerStep": counts},
        ),
        "timeoutMS": positive,
        "priority": positive,
        "lane": st.sampled_from(["interactive", "batch"]),
        "tenantId": keys,
        "queuePartitionKey": keys,
        "recipeName": st.sampled_from(["compile-default", "sandbox-default", "nowhere"]),
        "recipeVersion": st.integers(1, 4),
    },
).map(RunRequest.from_json)


@given(requests)
def test_nothing_admitted_is_over_a_cap_or_a_budget_or_without_a_partition(request_: RunRequest) -> None:
    try:
        admission = admit(request_, RECIPES)
    except PolicyViolation:
        return
    work, budget, recipe = request_.workload, request_.budget, admission.recipe
    assert work is None or work.concurrency <= recipe.max_concurrency
    assert work is None or work.steps <= recipe.max_steps
    assert work is None or work.sandbox_minutes <= recipe.max_sandbox_minutes
    assert budget is None or work is None or work.steps <= budget.max_fanout
    assert budget is None or work is None or work.sandbox_minutes <= budget.max_sbx_minutes
    assert budget is None or (request_.timeout_ms or 0) <= budget.max_wall_clock_ms
    assert admission.queue_partition_key.strip()
    assert admission.tenant_id is None or admission.tenant_id.strip()


@given(requests, st.permutations(RECIPES))
def test_the_answer_does_not_depend_on_the_order_of_recipes(request_: RunRequest, recipes: list[Recipe]) -> None:
    assert _answer(request_, recipes) == _answer(request_, RECIPES)


def _answer(request: RunRequest, recipes: list[Recipe]) -> Admission | str:
    try:
        return admit(request, recipes)
    except PolicyViolation as refusal:
        return str(refusal)
