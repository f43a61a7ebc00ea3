"""What people read about a value that breaks a contract: a sentence with field, rule and value; never a secret."""

from typing import Any

import pytest
from hypothesis import given

from sisu_pipeline.contracts.access import SessionRequest
from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.contracts.gate import PlanApprovalRequest
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.contracts.sandbox_request import SandboxRequest
from sisu_pipeline.contracts.step_outputs import Plan
from tests import json_values

INTENT = {"goal": "g", "inputs": {}, "constraints": {}}
PLAN = {"goal": "g", "design": [], "files": [], "risks": [], "tests": []}
WORKLOAD = {"concurrency": 0, "steps": 0, "sandboxMinutes": 0}
SANDBOX = {"envRef": "e", "cmd": "c", "timeoutMs": 1, "taskKey": "k"}
PATCH = {"targetPath": "", "postimageContent": "", "diffText": ""}

SENTENCES: list[tuple[type[Contract], Any, str]] = [
    (Intent, {**INTENT, "goal": ""}, "goal must not be empty"),
    (Intent, {**INTENT, "goal": 1}, "goal must be a string (got 1)"),
    (Intent, {**INTENT, "goal": None}, "goal must be a string (got null)"),
    (Intent, {**INTENT, "inputs": []}, "inputs must be an object (got an array)"),
    (Intent, {**INTENT, "connectors": ["a", {}]}, "connectors[1] must be a string (got an object)"),
    (Intent, {"inputs": {}, "constraints": {}}, "goal is required"),
    (Intent, {**INTENT, "input": {}}, "unknown field 'input'; did you mean 'inputs'?"),
    (Intent, {**INTENT, "Goal": "g"}, "unknown field 'Goal'; did you mean 'goal'?"),
    (Intent, {**INTENT, "zzz": 1}, "unknown field 'zzz'"),
    (Intent, {**INTENT, "\u202e": 1}, r"unknown field '\u202e'"),
    (Intent, [], "the value must be an object (got an array)"),
    (RunRequest, {"priority": 0}, "priority must be at least 1 (got 0)"),
    (RunRequest, {"queuePartitionKey": "k" * 256}, "queuePartitionKey must have at most 255 characters"),
    (RunRequest, {"traceId": "t" * 256}, "traceId must have at most 255 characters"),
    (RunRequest, {"priority": 2**31}, "priority must be at most 2147483647 (got 2147483648)"),
    (RunRequest, {"priority": 1.5}, "priority must be an integer (got 1.5)"),
    (RunRequest, {"priority": True}, "priority must be an integer (got true)"),
    (RunRequest, {"lane": "express"}, "lane must be one of interactive, batch (got 'express')"),
    (RunRequest, {"workload": {**WORKLOAD, "steps": -1}}, "workload.steps must be at least 0 (got -1)"),
    (
        RunRequest,
        {"workload": {**WORKLOAD, "step": 1}},
        "unknown field 'step' in workload; did you mean 'steps'?",
    ),
    (
        PlanApprovalRequest,
        {"approvedBy": "po", "planSha256": "x"},
        "planSha256 must be 64 lowercase hexadecimal digits (got 'x')",
    ),
    (
        PlanApprovalRequest,
        {"approvedBy": "po", "plan": PLAN},
        "plan requires planSha256, the hash of the plan it is based on",
    ),
    (Plan, {**PLAN, "design": ["d"] * 26}, "design must have at most 25 items"),
    (Plan, {**PLAN, "patchPlan": [PATCH]}, "patchPlan[0].targetPath must not be empty"),
    (
        Plan,
        {**PLAN, "patchPlan": [{**PATCH, "targetPath": "a", "postimageContent": "d" * 200_001}]},
        "patchPlan[0].postimageContent must have at most 200,000 characters",
    ),
    *(
        (Plan, {**PLAN, "patchPlan": [{"targetPath": "a", **patch}]}, sentence)
        for patch, sentence in (
            ({}, "the patch of 'a' must have postimageContent or contentBase64"),
            ({"op": "create"}, "the patch of 'a' must have postimageContent or contentBase64"),
            ({"op": "modify"}, "the patch of 'a' must have postimageContent, contentBase64 or mode"),
            (
                {"postimageContent": "", "contentBase64": ""},
                "the patch of 'a' must have postimageContent or contentBase64, not both",
            ),
            ({"contentBase64": "a"}, "contentBase64 of the patch of 'a' must be base64 with padding"),
            (
                {"op": "delete", "postimageContent": ""},
                "the patch of 'a' deletes the file; leave out the content and the mode",
            ),
            (
                {"op": "delete", "mode": "100644"},
                "the patch of 'a' deletes the file; leave out the content and the mode",
            ),
            ({"op": "rename"}, "the patch of 'a' must have both op 'rename' and fromPath, or neither"),
            (
                {"op": "modify", "fromPath": "b", "postimageContent": ""},
                "the patch of 'a' must have both op 'rename' and fromPath, or neither",
            ),
            (
                {"op": "rename", "fromPath": "a"},
                "the patch of 'a' renames the file to the path it has; name another fromPath",
            ),
            (
                {"op": "create", "postimageContent": "", "oldSha256": "0" * 64},
                "the patch of 'a' creates the file; leave out oldSha256",
            ),
            (
                {"op": "remove"},
                "patchPlan[0].op must be one of create, modify, delete, rename (got 'remove')",
            ),
            (
                {"mode": "120000", "postimageContent": ""},
                "patchPlan[0].mode must be one of 100644, 100755 (got '120000')",
            ),
        )
    ),
    (SandboxRequest, {**SANDBOX, "net": "no"}, "net must be true or false (got 'no')"),
    (SandboxRequest, {**SANDBOX, "limits": {"cpu": "all"}}, "limits.cpu must be a number (got 'all')"),
]


@pytest.mark.parametrize(("contract", "value", "sentence"), SENTENCES, ids=[each[2][:40] for each in SENTENCES])
def test_a_broken_rule_is_one_sentence(contract: type[Contract], value: Any, sentence: str) -> None:
    with pytest.raises(ContractInvalid) as refusal:
        contract.from_json(value)
    assert [fault.message for fault in refusal.value.faults] == [sentence]
    assert str(refusal.value) == f"invalid {contract.__name__}: {sentence}"


def test_the_message_counts_the_other_broken_rules() -> None:
    with pytest.raises(ContractInvalid, match=r"^invalid Intent: goal must not be empty \(and 1 more\)$"):
        Intent.from_json({**INTENT, "goal": "", "inputs": 1})


@pytest.mark.parametrize(
    ("contract", "value"),
    [
        (SessionRequest, {"token": 31337}),
        (SandboxRequest, {**SANDBOX, "env": {"KEY": 31337}}),
        (SandboxRequest, {**SANDBOX, "env": [31337]}),
    ],
)
def test_a_secret_is_not_repeated(contract: type[Contract], value: Any) -> None:
    with pytest.raises(ContractInvalid) as refusal:
        contract.from_json(value)
    assert all("31337" not in fault.message for fault in refusal.value.faults)


def test_a_sentence_is_short_however_long_the_value_and_the_name_are() -> None:
    with pytest.raises(ContractInvalid) as refusal:
        RunRequest.from_json({"lane": "x" * 100_000, "k" * 100_000: 1})
    assert max(len(fault.message) for fault in refusal.value.faults) <= 300
    assert max(len(fault.pointer) for fault in refusal.value.faults) <= 200


@given(json_values.values())
def test_no_text_of_the_validator_reaches_people(value: Any) -> None:
    for contract in (Intent, RunRequest, Plan, SandboxRequest):
        try:
            contract.from_json(value)
        except ContractInvalid as refusal:
            text = " ".join(fault.message for fault in refusal.faults)
            assert not any(each in text for each in ("Input should", "Field required", "pydantic", "validation"))
