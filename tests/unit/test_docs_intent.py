"""docs/intent.md: its schema is a schema, and every example is an intent that the built-in planner can plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from resources.planner.planner_port import Question
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline.api.schemas.intent_schema import intent_schema
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.recipe import RecipeDefinition
from sisu_pipeline.contracts.step_outputs import PlanPatch
from sisu_pipeline.domain.changes.declared_setup import setup_of
from sisu_pipeline.domain.changes.repository_base import InputInvalid, repository_of
from sisu_pipeline.domain.forms import check_form
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.compile import plan_prompt, read_plan
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

SCHEMA, *EXAMPLES = (
    json.loads(block.text) for block in MarkdownPage(DOCS / "intent.md").blocks if block.language == "json"
)
REPOSITORY, RECIPE, _ = (
    json.loads(block.text) for block in MarkdownPage(DOCS / "repositories.md").blocks if block.language == "json"
)
EXAMPLES += [
    json.loads(block.text)
    for page in ("repositories.md", "setups.md")
    for block in MarkdownPage(DOCS / page).blocks
    if block.language == "json" and '"goal"' in block.text
]
examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["goal"])


def test_the_schema_of_the_page_is_the_published_one() -> None:
    assert intent_schema() == SCHEMA


def test_the_first_json_block_is_a_schema_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(SCHEMA)


@examples
def test_an_example_validates_against_the_schema(example: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(example)


@examples
def test_an_example_is_an_intent_with_valid_gate_terms(example: dict[str, Any]) -> None:
    intent = Intent.from_json(example)
    assert intent.to_json() == example
    gate_terms.ttl(intent.constraints)
    gate_terms.on_timeout(intent.constraints)
    repository_of(intent)
    question = gate_terms.ask(intent.constraints)
    if question is not None:
        check_form(question.form)


@examples
def test_an_example_compiles_with_the_built_in_planner(example: dict[str, Any], tmp_path: Path) -> None:
    intent = Intent.from_json(example)
    answer = ReplayPlanner(tmp_path).answer(Question("plan", plan_prompt(intent), intent))
    plan = read_plan(intent, answer).to_json()
    inputs = example["inputs"]
    assert (plan["goal"], plan["tests"]) == (example["goal"], inputs.get("tests", []))
    # Every patch has a diff text, which is empty until it is computed.
    given = [{"diffText": "", **patch} for patch in inputs.get("patches", [])]
    assert plan.get("patchPlan", []) == given


def test_the_recipe_on_the_page_about_repositories_is_one() -> None:
    assert RECIPE.items() <= RecipeDefinition.from_json(RECIPE).to_json().items()


CONTRADICTIONS: list[dict[str, Any]] = [
    {},
    {"op": "create"},
    {"op": "modify"},
    {"op": "rename"},
    {"op": "remove"},
    {"op": "delete", "postimageContent": ""},
    {"op": "delete", "mode": "100644"},
    {"op": "modify", "fromPath": "b", "postimageContent": ""},
    {"fromPath": "b", "postimageContent": ""},
    {"postimageContent": "", "contentBase64": ""},
    {"op": "rename", "fromPath": "b", "postimageContent": "", "contentBase64": ""},
    {"op": "create", "postimageContent": "", "oldSha256": "0" * 64},
    {"mode": "120000", "postimageContent": ""},
]
PATCHES: list[dict[str, Any]] = [
    {"postimageContent": ""},
    {"contentBase64": "//4A", "postimageContent": None, "op": None},
    {"op": "create", "postimageContent": "", "mode": "100755"},
    {"op": "modify", "mode": "100755"},
    {"op": "modify", "postimageContent": "", "oldSha256": "0" * 64},
    {"op": "delete", "oldSha256": "0" * 64},
    {"op": "rename", "fromPath": "b"},
    {"op": "rename", "fromPath": "b", "contentBase64": "//4A", "mode": "100755"},
]


@pytest.mark.parametrize("patch", [*PATCHES, *CONTRADICTIONS])
def test_the_schema_and_the_contract_agree_about_a_patch(patch: dict[str, Any]) -> None:
    content = {"targetPath": "a", **patch}
    intent = {"goal": "demo", "inputs": {"patches": [content]}, "constraints": {}}
    is_accepted = patch in PATCHES
    assert Draft202012Validator(SCHEMA).is_valid(intent) == is_accepted
    if is_accepted:
        PlanPatch.from_json(content)
    else:
        with pytest.raises(ContractInvalid):
            PlanPatch.from_json(content)


@pytest.mark.parametrize(
    "change",
    [
        {"goal": ""},
        {"extra": 1},
        {"inputs": {"tests": [1]}},
        *({"inputs": {"files": {path: ""}}} for path in ("../secret", ".git/config", "a/.GIT/x", "git~1/x")),
        {"inputs": {"patches": [{}]}},
        *({"inputs": {"patches": [{"targetPath": "a", **patch}]}} for patch in CONTRADICTIONS),
        *(
            {"inputs": {"patches": [{"targetPath": path, "op": "delete"}]}}
            for path in ("../a", "a/.git/config", ".GIT", "git~1/x", ".git. /x")
        ),
        {"constraints": {"planApprovalTimeoutS": 0}},
        {"constraints": {"testHooks": {"askUser": "which?"}}},
    ],
)
def test_the_schema_rejects_what_no_step_accepts(change: dict[str, Any]) -> None:
    intent = {"goal": "demo", "inputs": {}, "constraints": {}} | change
    assert not Draft202012Validator(SCHEMA).is_valid(intent)


def test_the_constraint_in_the_page_about_the_gate_is_one() -> None:
    blocks = [block for block in MarkdownPage(DOCS / "human-gate.md").blocks if block.language == "json"]
    (constraints,) = (json.loads(block.text) for block in blocks if "askUser" in block.text)
    Draft202012Validator(SCHEMA).validate({"goal": "demo", "inputs": {}, "constraints": constraints})
    question = gate_terms.ask(constraints)
    assert question is not None
    check_form(question.form)


REPOSITORIES: list[tuple[dict[str, Any], bool]] = [
    ({"repo": {"url": "https://a/b", "ref": "main"}}, True),
    ({"repo": {"path": "/a", "ref": "v1", "subdirectory": "b/c"}}, True),
    ({"repo": {"ref": "main"}}, False),
    ({"repo": {"path": "/a", "url": "https://a/b", "ref": "main"}}, False),
    ({"repo": {"path": "/a"}}, False),
    ({"repo": {"path": "/a", "ref": "main", "subdirectory": "../b"}}, False),
    ({"repo": {"path": "/a", "ref": "main", "other": 1}}, False),
]

SETUPS: list[tuple[Any, bool]] = [
    ({"prepare": "npm ci"}, True),
    ({"prepare": "npm ci", "lockFiles": ["package.json", "packages/", "a/b.lock"], "network": True}, True),
    ({"template": "tpl-1"}, True),
    ({}, False),
    ({"prepare": ""}, False),
    ({"prepare": "npm ci", "image": "node:24"}, False),
    ({"prepare": "npm ci", "lockFiles": []}, False),
    ({"prepare": "npm ci", "network": "yes"}, False),
    ({"template": "tpl-1", "lockFiles": ["a"]}, False),
    ("npm ci", False),
]


@pytest.mark.parametrize(("inputs", "is_accepted"), REPOSITORIES)
def test_the_schema_and_the_contract_agree_about_a_repository(inputs: dict[str, Any], is_accepted: bool) -> None:
    content = {"goal": "demo", "inputs": inputs, "constraints": {}}
    assert Draft202012Validator(SCHEMA).is_valid(content) == is_accepted
    try:
        repository_of(Intent.from_json(content))
    except InputInvalid:
        assert not is_accepted
    else:
        assert is_accepted


@pytest.mark.parametrize(("setup", "is_accepted"), SETUPS)
def test_the_schema_and_the_contract_agree_about_a_setup(setup: Any, is_accepted: bool) -> None:
    content = {"goal": "demo", "inputs": {"setup": setup}, "constraints": {}}
    assert Draft202012Validator(SCHEMA).is_valid(content) == is_accepted
    try:
        setup_of(Intent.from_json(content))
    except InputInvalid:
        assert not is_accepted
    else:
        assert is_accepted
