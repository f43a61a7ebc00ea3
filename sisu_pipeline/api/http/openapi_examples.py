"""Examples of requests and responses in the OpenAPI document. Pure: the same document has the same examples."""

import json
from typing import Any

_INTENT = f"ih_{'3f' * 32}"
_HASH = "9c" * 32
_RUN = f"run_{'7d' * 8}"
_TIME = "2030-01-31T09:00:00.000Z"
_DEEPEST = 6

REQUESTS: dict[str, dict[str, Any]] = {
    "submit_intent": {
        "goal": "Greet in the log",
        "inputs": {"files": {"greet.sh": "echo hello\n"}, "testCommand": "sh greet.sh"},
        "constraints": {},
    },
    "start_run": {"recipeName": "sandbox-default", "queuePartitionKey": "default"},
    "approve_plan": {"approvedBy": "ada", "notes": "read"},
    "reject_plan": {"rejectedBy": "ada", "reason": "The tests do not cover the change."},
    "request_changes": {"requestedBy": "ada", "comment": "Also test an empty name."},
    "answer_gate": {"answeredBy": "ada", "answer": {"environment": "staging"}},
    "decide_many": {
        "decision": "approved",
        "decidedBy": "ada",
        "reason": "read",
        "plans": [{"runId": _RUN, "planSha256": _HASH}],
    },
    "assign_run": {"assignedBy": "ada", "people": ["grace"], "groups": ["leads"], "reason": "knows the module"},
    "record_delegation": {
        "recordedBy": "ada",
        "delegate": "grace",
        "endsAt": "2030-02-14T17:00:00Z",
        "reason": "on leave",
    },
    "open_session": {"token": f"sisu_{'0' * 64}"},
    "cancel": {"actor": "ada", "reason": "no longer needed"},
    "retry": {"actor": "ada", "reason": "the disk has room again"},
    "adopt_version": {"actor": "ada", "reason": "rolling upgrade", "oldVersion": "v1", "newVersion": "v2"},
    "apply_policy": {"id": "two-people", "approvals": 2, "approvers": {"groups": ["leads"]}},
    "apply_recipe": {
        "name": "small",
        "maxConcurrency": 2,
        "maxSteps": 8,
        "maxSandboxMinutes": 10,
        "policy": "default",
    },
}

_TEXTS = {
    "agent": "opencode 1.0",
    "appVersion": "v1",
    "channel": "cli",
    "code": "not_found",
    "comment": "Also test an empty name.",
    "command": "sh greet.sh",
    "decidedBy": "ada",
    "error": "run not found",
    "gateKey": f"{_RUN}:plan",
    "goal": "Greet in the log",
    "id": "default",
    "intentHash": "3f" * 32,
    "intentId": _INTENT,
    "kind": "stdout",
    "lane": "interactive",
    "lastStep": "ApplyPatchST",
    "message": "goal is required",
    "name": "small",
    "nextAction": "APPROVE_PLAN",
    "owner": "ada",
    "outcome": "succeeded: 1 of 1 tests",
    "person": "ada",
    "phase": "plan",
    "pointer": "/goal",
    "purpose": "plan-approval",
    "queueName": "intentQ",
    "queuePartitionKey": "default",
    "reason": "read",
    "runId": _RUN,
    "status": "waiting_input",
    "stepId": "ExecuteST",
    "targetPath": "greet.sh",
    "uri": f"artifact://run/{_RUN}/step/ExecuteST/task/{_HASH}/stdout.log",
    "v": "1",
    "version": "v1",
    "workflowId": _INTENT,
}
_PROBLEMS: dict[str, Any] = {
    "400": {
        "error": "invalid Intent: goal is required",
        "code": "invalid_contract",
        "details": [{"pointer": "/goal", "message": "goal is required"}],
    },
    "401": {"error": "send a token: Authorization: Bearer TOKEN", "code": "unauthorized", "details": []},
    "403": {
        "error": "this request needs the role approver; your token has viewer",
        "code": "forbidden",
        "details": [],
    },
    "404": {"error": "not found", "code": "not_found", "details": []},
    "409": {"error": "the run has ended", "code": "illegal_state", "details": []},
    "413": {"error": "the body is larger than 8388608 bytes", "code": "body_too_large", "details": []},
    "415": {
        "error": "send the body uncompressed (got Content-Encoding 'gzip')",
        "code": "unsupported_encoding",
        "details": [],
    },
    "503": {
        "error": "the database cannot be reached or is busy: try again",
        "code": "database_unavailable",
        "details": [],
    },
}
_FILES = {
    "text/x-diff": "--- a/greet.sh\n+++ b/greet.sh\n@@ -1 +1 @@\n-echo hi\n+echo hello\n",
    "text/plain": "hello\n",
    "text/csv": "at,event,person\n2030-01-31T09:00:00.000Z,approve,ada\n",
    "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg"/>',
}


def add_examples(document: dict[str, Any]) -> None:
    """Give each operation an example of its request and of each response with a body, in place."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            name = operation["operationId"]
            body = operation.get("requestBody")
            if body is not None:
                body["content"]["application/json"]["example"] = REQUESTS[name]
            for status, response in operation["responses"].items():
                for media_type, content in response.get("content", {}).items():
                    content["example"] = _example(status, media_type, content.get("schema", {}), schemas)


def _example(status: str, media_type: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if status in _PROBLEMS:
        return _PROBLEMS[status]
    if media_type == "text/event-stream":
        event = schema.get("oneOf", [schema])[0]["properties"]
        data = example_of(event["data"]["contentSchema"], schemas)
        return f"event: {event['event']['const']}\ndata: {json.dumps(data)}\n\n"
    if media_type != "application/json":
        return _FILES.get(media_type, "")
    return example_of(schema, schemas)


def example_of(schema: dict[str, Any], schemas: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that fits a schema: required members only, with texts by the names of members."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if "enum" in schema:
        return _TEXTS[name] if _TEXTS.get(name) in schema["enum"] else schema["enum"][0]
    if "anyOf" in schema:
        options = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return (
            None
            if depth > 1 and len(options) < len(schema["anyOf"])
            else example_of(options[0], schemas, name, depth)
        )
    return _by_type(schema, schemas, name, depth)


def _by_type(schema: dict[str, Any], schemas: dict[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            members = {key: schema["properties"][key] for key in schema.get("required", ())}
            return {key: example_of(member, schemas, key, depth + 1) for key, member in members.items()}
        case "array":
            is_cut = depth > _DEEPEST and not schema.get("minItems")
            return [] if is_cut else [example_of(schema.get("items", {}), schemas, "", depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 0) if schema.get("minimum", 0) > 0 else 1
        case "boolean":
            return False
        case "string":
            return _text(schema, name)
    return {}


def _text(schema: dict[str, Any], name: str) -> str:
    if schema.get("format") == "date-time":
        return _TIME
    if "0-9a-f]{64}" in schema.get("pattern", "") or name.lower().endswith(("sha256", "hash")):
        return _TEXTS.get(name, _HASH)
    return _TEXTS.get(name, name or "ada")
