"""Odd but valid requests: every field of the contracts, at its bounds, with every character that JSON can hold."""

from typing import Any

from hypothesis import strategies as st

from tests.json_values import objects, values

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
    {"recipeName": st.just("sandbox-default"), "queuePartitionKey": _keys},
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
_notes = st.none() | text | st.just("n" * 10_000)
_dedupe_keys = st.none() | _keys.filter(lambda key: len(key) <= 256)
decisions: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(
        st.just("approve-plan"),
        st.fixed_dictionaries({"approvedBy": _names}, optional={"notes": _notes, "dedupeKey": _dedupe_keys}),
    ),
    st.tuples(
        st.just("reject-plan"),
        st.fixed_dictionaries(
            {"rejectedBy": _names, "reason": st.text(_CHARACTERS, min_size=1, max_size=40)},
            optional={"dedupeKey": _dedupe_keys},
        ),
    ),
    st.tuples(
        st.just("request-changes"),
        st.fixed_dictionaries({"requestedBy": _names, "comment": st.text(_CHARACTERS, min_size=1, max_size=40)}),
    ),
    st.tuples(
        st.just("answer"),
        st.fixed_dictionaries(
            {"answeredBy": _names, "answer": objects(text) | st.just(ANSWER)}, optional={"dedupeKey": _dedupe_keys}
        ),
    ),
    st.tuples(
        st.sampled_from(["cancel", "retry"]),
        st.fixed_dictionaries({}, optional={"actor": _names, "reason": text | st.just("r" * 2000)}),
    ),
)
"""A request about a run: its route, and its body."""
