"""Contracts are closed, strict and limited; what one refuses is named by its path."""

import copy
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.contracts.gate import PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.intent import Budget, Intent, RunRequest, Workload
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxRequest, SandboxResult
from sisu_pipeline.contracts.step_outputs import (
    MAX_FILES,
    MAX_PATCHES,
    MAX_TESTS,
    Build,
    PatchedPlan,
    Plan,
    PlannerOutput,
    StepId,
)
from sisu_pipeline.domain.canonical import same_json
from tests import json_values

SHA = "a" * 64
INTENT = {"goal": "g", "inputs": {"any": [1, None, {"x": "y"}]}, "constraints": {}, "connectors": ["github"]}
BUDGET = {
    "maxFanout": 1,
    "maxSBXMinutes": 1,
    "maxArtifactsMB": 1,
    "maxRetriesPerStep": 0,
    "maxWallClockMS": 1,
}
WORKLOAD = {"concurrency": 0, "steps": 0, "sandboxMinutes": 0}
RUN_REQUEST = {
    "traceId": "t",
    "queueName": "intentQ",
    "lane": "batch",
    "priority": 1,
    "deduplicationID": "d",
    "timeoutMS": 1,
    "recipeName": "compile-default",
    "recipeVersion": 1,
    "workload": WORKLOAD,
    "tenantId": "t",
    "taskKey": "k",
    "queuePartitionKey": "p",
    "budget": BUDGET,
}
APPROVAL = {"approvedBy": "po", "notes": "fine", "planSha256": SHA}
REJECTION = {"rejectedBy": "po", "reason": "too big", "planSha256": SHA}
PATCH = {"targetPath": "a.txt", "postimageContent": "", "diffText": ""}
PATCHED = {"goal": "g", "design": ["d"], "files": ["f"], "risks": ["r"], "tests": ["t"]}
PLAN = {**PATCHED, "patchPlan": [PATCH]}
BUILD = {"patch": [{"path": "a", "diff": "d"}], "tests": ["t"], "test_command": "pytest"}
ANSWER = {
    "prompt": "p",
    "toolcalls": [{"name": "read", "args": {"path": "a"}}],
    "responses": [1],
    "diffs": ["d"],
    "structured": {},
    "usage": {"total_tokens": 1},
}
SANDBOX_REQUEST = {
    "envRef": "local-node-24",
    "cmd": "pytest",
    "filesIn": [{"path": "a", "inline": "text"}],
    "env": {"A": "b"},
    "timeoutMs": 1,
    "limits": {"cpu": 1.5, "memMB": 512},
    "net": False,
    "taskKey": SHA,
}
METRICS = {"wallMs": 1, "cpuMs": 1, "memPeakMB": 1}
SANDBOX_RESULT = {
    "exit": 0,
    "stdout": "",
    "stderr": "",
    "filesOut": [{"path": "out", "sha256": SHA}],
    "metrics": METRICS,
    "sandboxRef": "mock",
    "errCode": "NONE",
    "taskKey": SHA,
}

GOOD: list[tuple[type[Contract], dict[str, Any]]] = [
    (Intent, INTENT),
    (RunRequest, RUN_REQUEST),
    (Budget, BUDGET),
    (Workload, WORKLOAD),
    (PlanApprovalRequest, APPROVAL),
    (PlanRejectionRequest, REJECTION),
    (Plan, PLAN),
    (PatchedPlan, PATCHED),
    (Build, BUILD),
    (PlannerOutput, ANSWER),
    (SandboxRequest, SANDBOX_REQUEST),
    (SandboxResult, SANDBOX_RESULT),
]

# contract, a good value, where it is changed, to what
BAD: list[tuple[type[Contract], dict[str, Any], str, Any]] = [
    (Intent, INTENT, "goal", ""),
    (Intent, INTENT, "goal", 1),
    (Intent, INTENT, "goal", None),
    (Intent, INTENT, "inputs", []),
    (Intent, INTENT, "inputs", None),
    (Intent, INTENT, "constraints", "none"),
    (Intent, INTENT, "connectors", "github"),
    (Intent, INTENT, "connectors.0", 1),
    (RunRequest, RUN_REQUEST, "queueName", "otherQ"),
    (RunRequest, RUN_REQUEST, "lane", "express"),
    (RunRequest, RUN_REQUEST, "priority", -1),
    (RunRequest, RUN_REQUEST, "priority", 2**31),
    (RunRequest, RUN_REQUEST, "priority", 1.5),
    (RunRequest, RUN_REQUEST, "priority", True),
    (RunRequest, RUN_REQUEST, "timeoutMS", 0),
    (RunRequest, RUN_REQUEST, "timeoutMS", "1"),
    (RunRequest, RUN_REQUEST, "timeoutMS", 2**53),
    (RunRequest, RUN_REQUEST, "recipeVersion", "1"),
    (RunRequest, RUN_REQUEST, "tenantId", ""),
    (RunRequest, RUN_REQUEST, "taskKey", ""),
    (RunRequest, RUN_REQUEST, "queuePartitionKey", ""),
    (RunRequest, RUN_REQUEST, "workload.steps", -1),
    (RunRequest, RUN_REQUEST, "workload.steps", None),
    (RunRequest, RUN_REQUEST, "budget.maxFanout", 0),
    (RunRequest, RUN_REQUEST, "budget.maxSBXMinutes", 0),
    (RunRequest, RUN_REQUEST, "budget.maxArtifactsMB", 0),
    (RunRequest, RUN_REQUEST, "budget.maxRetriesPerStep", -1),
    (RunRequest, RUN_REQUEST, "budget.maxWallClockMS", 0),
    (PlanApprovalRequest, APPROVAL, "approvedBy", ""),
    (PlanApprovalRequest, APPROVAL, "notes", 1),
    (PlanApprovalRequest, APPROVAL, "planSha256", "A" * 64),
    (PlanApprovalRequest, APPROVAL, "planSha256", SHA + "\n"),
    (PlanRejectionRequest, REJECTION, "rejectedBy", ""),
    (PlanRejectionRequest, REJECTION, "reason", ""),
    (Plan, PLAN, "design", ["d"] * 26),
    (Plan, PLAN, "files", ["f"] * (MAX_FILES + 1)),
    (Plan, PLAN, "risks", ["r"] * 16),
    (Plan, PLAN, "tests", ["t"] * (MAX_TESTS + 1)),
    (Plan, PLAN, "tests.0", None),
    (Plan, PLAN, "patchPlan", [PATCH] * (MAX_PATCHES + 1)),
    (Plan, PLAN, "patchPlan.0.targetPath", ""),
    (Plan, PLAN, "patchPlan.0.targetPath", "x" * 1025),
    (Plan, PLAN, "patchPlan.0.postimageContent", "x" * 200_001),
    (Plan, PLAN, "patchPlan.0.diffText", 1),
    (Plan, PLAN, "patchPlan.0.fromPath", "x" * 1025),
    (Plan, PLAN, "patchPlan.0.contentBase64", "x" * 266_665),
    (Plan, PLAN, "patchPlan.0.op", "link"),
    (Plan, PLAN, "patchPlan.0.mode", "100600"),
    (PatchedPlan, PATCHED, "tests", ["t"] * (MAX_TESTS + 1)),
    (Build, BUILD, "patch", [{"path": "a", "diff": ""}] * 31),
    (Build, BUILD, "patch.0.diff", "x" * 20_001),
    (Build, BUILD, "test_command", None),
    (PlannerOutput, ANSWER, "toolcalls.0.name", None),
    (PlannerOutput, ANSWER, "structured", []),
    (SandboxRequest, SANDBOX_REQUEST, "timeoutMs", 0),
    (SandboxRequest, SANDBOX_REQUEST, "env.A", 1),
    (SandboxRequest, SANDBOX_REQUEST, "net", "false"),
    (SandboxResult, SANDBOX_RESULT, "errCode", "WEIRD"),
    (SandboxResult, SANDBOX_RESULT, "filesOut.0.sha256", "short"),
]

CLOSED = [
    (Intent, INTENT, ""),
    (RunRequest, RUN_REQUEST, ""),
    (RunRequest, RUN_REQUEST, "workload"),
    (RunRequest, RUN_REQUEST, "budget"),
    (PlanApprovalRequest, APPROVAL, ""),
    (PlanRejectionRequest, REJECTION, ""),
    (Plan, PLAN, ""),
    (Plan, PLAN, "patchPlan.0"),
    (PatchedPlan, PLAN, ""),
    (Build, BUILD, ""),
    (Build, BUILD, "patch.0"),
    (PlannerOutput, ANSWER, ""),
    (PlannerOutput, ANSWER, "toolcalls.0"),
    (SandboxRequest, SANDBOX_REQUEST, ""),
    (SandboxRequest, SANDBOX_REQUEST, "limits"),
    (SandboxRequest, SANDBOX_REQUEST, "filesIn.0"),
    (SandboxResult, SANDBOX_RESULT, ""),
    (SandboxResult, SANDBOX_RESULT, "metrics"),
]


def _name(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize(("contract", "value"), GOOD, ids=_name)
def test_a_good_value_passes_and_comes_back_as_it_was(contract: type[Contract], value: dict[str, Any]) -> None:
    assert same_json(contract.from_json(value).to_json(), value)


@pytest.mark.parametrize(("contract", "value", "where", "what"), BAD, ids=_name)
def test_a_value_out_of_contract_is_refused_by_its_path(
    contract: type[Contract], value: dict[str, Any], where: str, what: Any
) -> None:
    with pytest.raises(ContractInvalid) as refusal:
        contract.from_json(_changed(value, where, what))
    assert _paths(refusal.value) == {where}


@pytest.mark.parametrize(("contract", "value", "where"), CLOSED, ids=_name)
def test_an_unknown_key_is_refused_at_every_depth(
    contract: type[Contract], value: dict[str, Any], where: str
) -> None:
    surprise = f"{where}.surprise".removeprefix(".")
    with pytest.raises(ContractInvalid) as refusal:
        contract.from_json(_changed(value, surprise, 1))
    assert surprise in _paths(refusal.value)


@pytest.mark.parametrize(
    ("contract", "value"), [(RunRequest, {"tenant_id": "t"}), (PlanApprovalRequest, {"approved_by": "po"})]
)
def test_python_names_are_unknown_on_the_wire(contract: type[Contract], value: dict[str, Any]) -> None:
    with pytest.raises(ContractInvalid):
        contract.from_json(value)


@pytest.mark.parametrize("missing", ["goal", "inputs", "constraints"])
def test_an_intent_needs_goal_inputs_and_constraints(missing: str) -> None:
    with pytest.raises(ContractInvalid):
        Intent.from_json({name: value for name, value in INTENT.items() if name != missing})


@pytest.mark.parametrize("value", [None, [], "text", 1, True, [INTENT]])
def test_a_contract_is_an_object(value: Any) -> None:
    with pytest.raises(ContractInvalid):
        Intent.from_json(value)


def test_every_field_of_a_run_request_may_be_null_and_that_is_the_same_as_absent() -> None:
    assert RunRequest.from_json(dict.fromkeys(RUN_REQUEST)) == RunRequest.from_json({})
    assert RunRequest.from_json(dict.fromkeys(RUN_REQUEST)).to_json() == {}


def test_the_limit_on_tests_is_the_same_in_every_step() -> None:
    tests = [f"test{number}" for number in range(MAX_TESTS)]
    for contract, value in ((Plan, PLAN), (PatchedPlan, PATCHED), (Build, BUILD)):
        assert contract.from_json({**value, "tests": tests}).to_json()["tests"] == tests


def test_an_instance_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Intent.from_json(INTENT).goal = "other"  # type: ignore[misc]


@pytest.mark.parametrize("goal", ["\ud800", "a\udc00"])
def test_a_lone_surrogate_is_refused(goal: str) -> None:
    with pytest.raises(ContractInvalid):
        Intent.from_json({**INTENT, "goal": goal})


def test_nesting_without_end_is_refused_not_a_crash() -> None:
    value: Any = {}
    for _ in range(500):
        value = {"a": value}
    with pytest.raises(ContractInvalid, match="nested too deeply"):
        Intent.from_json({**INTENT, "inputs": value})


def test_only_failures_of_the_infrastructure_are_retried() -> None:
    assert {code for code in ErrorCode if code.is_retryable} == {
        ErrorCode.BOOT_FAIL,
        ErrorCode.NET_FAIL,
        ErrorCode.UPLOAD_FAIL,
        ErrorCode.DOWNLOAD_FAIL,
    }


def test_there_are_four_steps_in_order_each_with_its_phase() -> None:
    assert [(str(step), step.phase) for step in StepId] == [
        ("CompileST", "compilation"),
        ("ApplyPatchST", "patching"),
        ("DecideST", "planning"),
        ("ExecuteST", "execution"),
    ]


@given(json_values.objects(), json_values.objects())
def test_whatever_json_an_intent_holds_it_keeps(inputs: dict[str, Any], constraints: dict[str, Any]) -> None:
    value = {"goal": "g", "inputs": inputs, "constraints": constraints}
    assert same_json(Intent.from_json(value).to_json(), value)


@given(json_values.values())
def test_any_json_is_accepted_or_refused_by_every_contract_never_a_crash(value: Any) -> None:
    for contract, _ in GOOD:
        try:
            contract.from_json(value)
        except ContractInvalid:
            continue
        assert isinstance(value, dict)


def _changed(value: dict[str, Any], where: str, what: Any) -> dict[str, Any]:
    changed = copy.deepcopy(value)
    *folders, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    inner: Any = changed
    for folder in folders:
        inner = inner[folder]
    inner[last] = what
    return changed


def _paths(refusal: ContractInvalid) -> set[str]:
    return {fault.pointer.removeprefix("/").replace("/", ".") for fault in refusal.faults}
