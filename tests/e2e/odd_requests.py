"""Odd but valid requests: every operation of the API with every field of its contract and every parameter, at their
bounds, with every character that JSON can hold.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.json_values import objects, values

RUN = "$run"
"""Stands for the id of the run that a request is about."""
PLAN_SHA256 = "$planSha256"
"""Stands for the hash of the plan that waits for approval."""
EDITED = "$edited"
"""The only key of an object that stands for the plan that waits for approval; its value are the changed members."""


@dataclass(frozen=True)
class Request:
    """A request: its operation in OpenAPI, as `POST /runs/{run_id}/cancel`, its body and its parameters."""

    operation: str
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method of the operation."""
        return self.operation.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path of the operation, with the names of its parameters."""
        return self.operation.partition(" ")[2]


# Every character but NUL and lone surrogates, which no request may hold; often those that break lines and labels.
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from(
    "\u2028\u0085\n\t\u202e\u200b'\"`$%/\\"
)
text = st.text(_CHARACTERS, max_size=40)
_keys = st.text(_CHARACTERS, min_size=1, max_size=40).filter(lambda value: bool(value.strip())) | st.sampled_from(
    ["x" * 255, "ü" * 255, "𝕏" * 255, "../..", "a/b#c?d", "%00", "-"]
)
_labels = st.none() | _keys
_paths = st.sampled_from(
    ["a", "n" * 255, "ü" * 127, "dir/" * 400 + "f", "-rf", "a b", "a\u2028b", ".git-x", "%2e%2e"]
)
_commands = st.sampled_from(
    ["run", "FAIL_ME", "TIMEOUT_ME", "FLAKY_INFRA_FAIL", "sleep 0.01", "c" * 50_000]
) | st.text(_CHARACTERS, min_size=1, max_size=40)
_files = st.dictionaries(_paths, text, max_size=2)

# Forms that `answer` fits, and some of the other answers below.
_questions = st.fixed_dictionaries(
    {
        "question": st.text(_CHARACTERS, min_size=1, max_size=40),
        "form": st.sampled_from(
            [
                {"type": "object"},
                {"type": "object", "properties": {"answer": {"type": ["string", "null"]}}},
                {"type": "object", "properties": {"answer": {"enum": ["yes", None, 2]}, "é/~": {"type": "number"}}},
            ]
        ),
    }
)
ANSWER: dict[str, Any] = {"answer": "yes"}
"""An answer that fits every question."""

intents: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "goal": st.text(_CHARACTERS, min_size=1, max_size=60) | st.just("g" * 200_000),
        "inputs": st.fixed_dictionaries(
            {},
            optional={
                "tests": st.lists(text, max_size=4),
                "testCommand": _commands,
                "files": _files,
                "patches": st.lists(
                    st.fixed_dictionaries({"targetPath": _paths, "postimageContent": text}), max_size=2
                ),
                "other": values(text),
            },
        ),
        "constraints": st.fixed_dictionaries(
            {},
            optional={
                "planApprovalTimeoutS": st.sampled_from([1, 3600, 86_400]),
                "planApprovalOnTimeout": st.sampled_from(["approve", "reject"]),
                "askUser": st.sampled_from([None, False, True]) | _questions,
                "noted": objects(text),
            },
        ),
    },
    optional={"connectors": st.none() | st.lists(text, max_size=3)},
)
"""Bodies of `POST /intents`."""

_counts = st.sampled_from([0, 1, 2, 2**31])
_budgets = st.fixed_dictionaries(
    {
        "maxFanout": st.sampled_from([1, 2, 10_000]),
        "maxSBXMinutes": st.sampled_from([1, 60]),
        "maxArtifactsMB": st.sampled_from([1, 2**40]),
        "maxRetriesPerStep": st.sampled_from([0, 3]),
        "maxWallClockMS": st.sampled_from([1, 2**50]),
    },
    optional={"maxPlanTokens": st.none() | st.just(1), "maxPlanCostUSD": st.none() | st.just(0.001)},
)
starts: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "recipeName": st.sampled_from(["sandbox-default", "sandbox-default", "compile-default", "odd"]),
        "queuePartitionKey": _keys,
    },
    optional={
        "traceId": st.none() | text,
        "queueName": st.none() | st.just("intentQ"),
        "lane": st.none() | st.sampled_from(["interactive", "batch"]),
        "priority": st.none() | st.sampled_from([1, 7, 2**31 - 1]),
        "deduplicationID": st.none() | text,
        "timeoutMS": st.none() | st.sampled_from([1, 600_000, 2**53 - 1]),
        "recipeVersion": st.none() | st.just(1),
        "workload": st.none()
        | st.fixed_dictionaries({"concurrency": _counts, "steps": _counts, "sandboxMinutes": _counts}),
        "tenantId": _labels,
        "taskKey": _labels,
        "budget": st.none() | _budgets,
    },
)
"""Bodies of `POST /intents/{id}/run`."""

_names = st.sampled_from(["po", "Åsa Öst", "p" * 200, 'o\'brien "x"', "名前", "a@b.c", "-rf"])
_groups = st.lists(st.sampled_from(["a", "0-_", "g" * 64]), max_size=2, unique=True)
_people = st.lists(_names, max_size=2, unique=True)
_nonempty = st.text(_CHARACTERS, min_size=1, max_size=40)
_comments = _nonempty.filter(lambda comment: bool(comment.strip(" \t\n\r")))
_reasons = text | st.just("r" * 2000)
_dedupe_keys = st.none() | _keys.filter(lambda key: len(key) <= 256)
_plan_hashes = st.sampled_from([None, PLAN_SHA256, PLAN_SHA256, "0" * 64])
_edits = st.fixed_dictionaries(
    {},
    optional={
        "risks": st.lists(text, max_size=15),
        "design": st.lists(text, max_size=2),
        "tests": st.lists(text, max_size=3),
        "testCommand": st.none() | _commands,
    },
)


Operation = tuple[str, st.SearchStrategy[Request]]


def _post(route: str, body: st.SearchStrategy[Any]) -> Operation:
    operation = f"POST {route}"
    return operation, st.builds(Request, st.just(operation), body)


def _get(route: str, **parameters: st.SearchStrategy[Any]) -> Operation:
    operation = f"GET {route}"
    return operation, st.builds(
        Request, st.just(operation), st.none(), st.fixed_dictionaries({}, optional=parameters)
    )


_approvals = st.fixed_dictionaries(
    {"approvedBy": _names},
    optional={
        "notes": st.none() | text | st.just("n" * 10_000),
        "dedupeKey": _dedupe_keys,
        "planSha256": _plan_hashes,
    },
)
_edited_approvals = st.fixed_dictionaries(
    {
        "approvedBy": _names,
        "planSha256": st.just(PLAN_SHA256),
        "plan": st.fixed_dictionaries({EDITED: _edits}),
    }
)
_rejections = st.fixed_dictionaries(
    {"rejectedBy": _names, "reason": _nonempty}, optional={"dedupeKey": _dedupe_keys, "planSha256": _plan_hashes}
)
_change_requests = st.fixed_dictionaries(
    {"requestedBy": _names, "comment": _comments},
    optional={"dedupeKey": _dedupe_keys, "planSha256": _plan_hashes},
)
_answers = st.fixed_dictionaries(
    {"answeredBy": _names, "answer": objects(text) | st.just(ANSWER)}, optional={"dedupeKey": _dedupe_keys}
)
_operations = st.none() | st.fixed_dictionaries({}, optional={"actor": _names, "reason": _reasons})
_assignments = st.fixed_dictionaries(
    {"assignedBy": _names}, optional={"people": _people, "groups": _groups, "reason": _reasons}
)
_unknown_plan = {"runId": "run_" + "0" * 32, "planSha256": "0" * 64}
_batches = st.fixed_dictionaries(
    {
        "decision": st.sampled_from(["approved", "rejected"]),
        "decidedBy": _names,
        "plans": st.fixed_dictionaries(
            {"runId": st.just(RUN), "planSha256": st.sampled_from([PLAN_SHA256, "0" * 64])},
            optional={"dedupeKey": _dedupe_keys},
        ).flatmap(lambda plan: st.sampled_from([[plan], [_unknown_plan, plan]])),
    },
    optional={"reason": _reasons},
)

CHANGES: dict[str, st.SearchStrategy[Request]] = dict(
    [
        _post("/runs/{run_id}/approve-plan", _approvals | _edited_approvals),
        _post("/runs/{run_id}/reject-plan", _rejections),
        _post("/runs/{run_id}/request-changes", _change_requests),
        _post("/runs/{run_id}/gates/{gate_key}/answer", _answers),
        _post("/runs/{run_id}/assign", _assignments),
        _post("/gates/decide", _batches),
        _post("/runs/{run_id}/cancel", _operations),
        _post("/runs/{run_id}/retry", _operations),
    ]
)
"""Requests that change a run, by their operation."""

_times = st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-02T00:00:00+14:00", "9999-12-30T23:59:59.999999-11:30"])
_searches = _nonempty.filter(lambda search: bool(search.strip()))
_positions = st.sampled_from([0, 1, 999_999_999])
_pages = st.sampled_from([1, 7, 200])
_cursors = st.sampled_from(["a", "-_", "0" * 1000])
_history = {
    "search": _searches,
    "run": st.just(RUN),
    "person": _names,
    "event": st.sampled_from(["approved", "a", "z_-" * 13]),
    "tenant": _keys,
    "since": _times,
    "until": _times,
}
_PLAIN_READS = (
    "/artifacts/{uri}",
    "/delegations",
    "/healthz",
    "/inbox",
    "/intents/schema",
    "/ops/queue-depth",
    "/ops/versions",
    "/policies",
    "/policies/{policy_id}",
    "/readyz",
    "/recipes",
    "/recipes/{name}",
    "/runs/{run_id}",
    "/runs/{run_id}/bundle",
    "/runs/{run_id}/events",
    "/runs/{run_id}/files.zip",
    "/runs/{run_id}/gates",
    "/runs/{run_id}/gates/{gate_key}",
    "/runs/{run_id}/history",
    "/runs/{run_id}/interactions",
    "/runs/{run_id}/output",
    "/runs/{run_id}/patch",
    "/runs/{run_id}/plan",
    "/session",
    "/sign-in",
)
READS: dict[str, st.SearchStrategy[Request]] = dict(
    [
        *map(_get, _PLAIN_READS),
        _get("/runs/{run_id}/logs", task=_positions),
        _get(
            "/runs/{run_id}/tasks",
            result=st.sampled_from(["failed", "passed"]),
            after=_positions | st.just(-1),
            limit=_pages,
        ),
        _get(
            "/runs",
            status=st.sampled_from(["queued", "waiting_input", "repairing", "canceled"]),
            limit=_pages,
            before=st.just(RUN),
        ),
        _get(
            "/gates",
            search=_searches,
            asked=st.sampled_from(["me", "team", "unassigned"]),
            person=_names,
            dueWithinS=st.sampled_from([0, 31_536_000]),
            tenant=_keys,
            limit=_pages,
            cursor=_cursors,
        ),
        _get("/history", **_history, limit=_pages, cursor=_cursors),
        _get("/history/export", **_history, format=st.sampled_from(["csv", "json"])),
    ]
)
"""Requests that read, about a run that has ended or about the deployment, by their operation."""

_caps = st.sampled_from([1, 2**31 - 1])
DEPLOYMENT: dict[str, st.SearchStrategy[Request]] = dict(
    [
        _post(
            "/recipes",
            st.fixed_dictionaries(
                {"name": st.sampled_from(["odd", "0-", "n" * 64])}
                | dict.fromkeys(("maxConcurrency", "maxSteps", "maxSandboxMinutes"), _caps),
                optional={
                    "net": st.none() | st.booleans(),
                    "maxChangeRequests": st.sampled_from([0, 20]),
                    "policy": st.sampled_from(["default", "odd"]),
                    "push": st.none() | st.just({"remote": "origin"}),
                },
            ),
        ),
        _post(
            "/policies",
            st.fixed_dictionaries(
                {"id": st.sampled_from(["odd", "0_-", "p" * 64])},
                optional={
                    "approvals": st.sampled_from([1, 2, 100]),
                    "approvers": st.none()
                    | st.fixed_dictionaries({"groups": st.just(["a"])}, optional={"people": _people}),
                    "selfApproval": st.booleans(),
                    "requesterApproval": st.none() | st.booleans(),
                    "deadlineMayApprove": st.booleans(),
                    "submitters": st.none(),
                    "longestDeadlineS": st.sampled_from([1, 30 * 86_400]),
                    "automaticApproval": st.none()
                    | st.fixed_dictionaries(
                        {
                            "paths": st.just(["*"]) | st.lists(_paths, min_size=1, max_size=2),
                            "commands": st.lists(_commands, min_size=1, max_size=2).map(
                                lambda commands: [command[:1024] for command in commands]
                            ),
                            "maxBytes": st.sampled_from([0, 10_000_000]),
                            "maxTasks": st.sampled_from([1, 10_000]),
                        }
                    ),
                },
            ),
        ),
        _post(
            "/delegations",
            st.fixed_dictionaries(
                {"recordedBy": _names},
                optional={
                    "person": st.none() | _names,
                    "delegate": st.none() | _names,
                    "beginsAt": st.none() | _times,
                    "endsAt": st.none() | _times,
                    "reason": _reasons,
                },
            ),
        ),
        # A version that no run of the stack has.
        _post(
            "/ops/version-adoptions",
            st.fixed_dictionaries(
                {"oldVersion": _nonempty.map("old-{}".format), "newVersion": _nonempty.map("new-{}".format)},
                optional={"actor": _names, "reason": _reasons, "whileRunning": st.booleans()},
            ),
        ),
    ]
)
"""Requests about recipes, policies, substitutes and versions, by their operation."""
