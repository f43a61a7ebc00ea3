"""Ids, each a function of content."""

import re
from typing import Any

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.errors import NotFound

_RUN_REFERENCE = re.compile(r"run_[0-9a-f]{32}|ih_[0-9a-f]{64}")


def intent_id(intent: Intent) -> str:
    """`ih_` and the sha256 of the canonical intent: the same content is the same intent."""
    return "ih_" + sha256_json(intent.to_json())


def run_id(workflow_id: str) -> str:
    """`run_` and 32 hex digits, from the workflow id alone."""
    return "run_" + sha256_json({"workflowId": workflow_id})[:32]


def run_id_of(run_reference: str) -> str:
    """The run id that a run reference means.

    A run reference is what people and jobs name a run by: its run id, or the id of its intent, which has one run.
    """
    return run_id(run_reference) if run_reference.startswith("ih_") else run_reference


def checked_reference(run_reference: str) -> str:
    """The run reference itself. Raises NotFound for a text that no run can have as its id."""
    if not _RUN_REFERENCE.fullmatch(run_reference):
        raise NotFound("run not found")
    return run_reference


def segment_workflow_id(workflow_id: str, segment: int) -> str:
    """The workflow id of a segment on its queue. The first segment's is the intent id."""
    return workflow_id if segment == 1 else f"{workflow_id}/{segment}"


def gate_key(run: str, step_id: str, purpose: str, attempt: int = 1) -> str:
    """A gate's key, as `approve-plan-c41e0986be3be693`."""
    prefix = re.sub(r"[^a-z0-9]", "-", purpose.lower())[:16]
    return f"{prefix}-{sha256_hex(f'{run}:{step_id}:{purpose}:{attempt}')[:16]}"


def task_key(intent: str, run: str, normalized_request: dict[str, Any]) -> str:
    """A task's key. `normalized_request` contains everything that changes what is executed."""
    return sha256_json(
        {"intentId": intent, "runId": run, "stepId": "ExecuteST", "normalizedReq": normalized_request}
    )


def artifact_uri(run: str, step_id: str, task: str, name: str) -> str:
    """`artifact://run/<run>/step/<step>/task/<task>/<name>`; `task` is empty for a step's own artifacts."""
    return f"artifact://run/{run}/step/{step_id}/task/{task}/{name}"


def op_key(
    run: str, step_id: str, attempt: int, schema_sha256: str, prompt_sha256: str, round_number: int = 1
) -> str:
    """A question's key: `op_` and the sha256 of what it is about; also the id of its workflow on `compileQ`.

    Only the rounds after the first one are part of the text: the first question of a run has the key that it had
    before there were rounds.
    """
    text = f"{run}:{step_id}:{attempt}:{schema_sha256}:{prompt_sha256}"
    return "op_" + sha256_hex(text if round_number == 1 else f"{text}:{round_number}")


def call_id(operation: str, number: int) -> str:
    """The id of a row of the agent's ledger: `occall_` and 16 hex digits, from the question's key and the try."""
    return "occall_" + sha256_hex(f"{operation}:{number}")[:16]
