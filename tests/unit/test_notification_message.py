"""A message states what is asked, until when, and where to answer, and nothing in it controls what shows it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.configuration.notification_receivers import EventKind, ReceiverFile
from sisu_pipeline.domain.notifications.notification_message import Event, Message, message_of, sample
from sisu_pipeline.domain.untrusted_text import hidden_characters
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

OPENED = {
    "purpose": "approve-plan",
    "deadlineAt": "2026-01-01T13:00:00.000Z",
    "onTimeout": "reject",
    "planSha256": "a" * 64,
}


def about(kind: EventKind, facts: dict[str, Any], **members: Any) -> Message:
    values: dict[str, Any] = {
        "id": "ntf_" + "0" * 32,
        "kind": kind,
        "run_id": "run_1",
        "workflow_id": "ih_1",
        "gate_key": "approve-plan-1",
        "facts": facts,
        "created_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "goal": "Make the tests pass",
        "recipe": "default",
        "queue_partition_key": "p",
        "tenant_id": None,
        "question": None,
        "approvals": 1,
    }
    return message_of(Event(**values | members), "https://sisu.example")


def test_a_gate_asks_for_approval_by_a_link_and_a_deadline() -> None:
    message = about(EventKind.GATE_OPENED, OPENED, approvals=2)
    assert message.title == "Approval needed: Make the tests pass"
    assert message.text.splitlines() == [
        "Goal: Make the tests pass",
        f"Plan: {'a' * 64}",
        "Approvals required: 2",
        "Deadline: 2026-01-01T13:00:00.000Z, then the plan is rejected",
        "Open: https://sisu.example/#/runs/run_1",
        "Run: run_1",
        f"Event: ntf_{'0' * 32}",
    ]
    assert message.document["type"] == "gate.opened"
    assert message.document["timestamp"] == "2026-01-01T12:00:00.000Z"
    assert message.document["data"]["link"] == "https://sisu.example/#/runs/run_1"


@pytest.mark.parametrize(
    ("kind", "facts", "title", "line"),
    [
        (EventKind.GATE_OPENED, OPENED | {"onTimeout": "approve"}, "Approval needed", "then the plan is approved"),
        (EventKind.GATE_REMINDER, OPENED, "Reminder: approval needed", "then the plan is rejected"),
        (EventKind.GATE_DECIDED, {"decision": "approved", "person": "ann"}, "Plan approved", "By: ann"),
        (
            EventKind.GATE_DECIDED,
            {"decision": "changes_requested", "person": "ann", "notes": "keep it"},
            "Changes requested",
            "Reason: keep it",
        ),
        (EventKind.GATE_TIMED_OUT, {"decision": "rejected"}, "Deadline passed", "Outcome: the plan was rejected"),
        (EventKind.RUN_ENDED, {"status": "failed", "reason": "E"}, "Run failed", "Reason: E"),
        (EventKind.RUN_ENDED, {"status": "canceled", "person": "ann"}, "Run canceled", "By: ann"),
    ],
)
def test_each_kind_has_a_heading_and_states_what_happened(
    kind: EventKind, facts: dict[str, Any], title: str, line: str
) -> None:
    message = about(kind, facts)
    assert message.title == f"{title}: Make the tests pass"
    assert line in message.text


def test_a_question_is_asked_as_one() -> None:
    message = about(EventKind.GATE_OPENED, OPENED | {"purpose": "ask-user"}, question="Where to?")
    assert message.title.startswith("Answer needed")
    assert "Question: Where to?" in message.text
    assert "Plan:" not in message.text


def test_the_engine_is_not_named_as_a_person() -> None:
    message = about(EventKind.RUN_ENDED, {"status": "succeeded", "person": "sisu:engine", "reason": "all steps"})
    assert "By:" not in message.text
    assert "Reason:" not in message.text


@given(st.text(min_size=1), st.text(min_size=1))
def test_untrusted_texts_add_no_line_and_no_hidden_character(goal: str, notes: str) -> None:
    facts = {"decision": "rejected", "person": "ann", "notes": notes}
    message = about(EventKind.GATE_DECIDED, facts, goal=goal)
    assert len(message.text.splitlines()) == 6
    assert hidden_characters(message.text + message.title) == []
    assert len(message.title) < 120


def test_the_documented_list_and_message_are_real() -> None:
    listed, documented = (
        json.loads(block.text)
        for block in MarkdownPage(DOCS / "notifications.md").blocks
        if block.language == "json"
    )
    assert len(ReceiverFile.from_json(listed).receivers) == 4
    data = documented["data"]
    message = about(
        EventKind(documented["type"]),
        {name: data[name] for name in ("purpose", "planSha256", "deadlineAt", "onTimeout")},
        id=documented["id"],
        created_at=datetime.fromisoformat(documented["timestamp"]),
        run_id=data["runId"],
        workflow_id=data["workflowId"],
        gate_key=data["gateKey"],
        recipe=data["recipe"],
        queue_partition_key=data["queuePartitionKey"],
    )
    assert message.document == {**documented, "data": {**data, "link": message.document["data"]["link"]}}
    assert data["link"].endswith(f"/#/runs/{data['runId']}")


def test_a_test_message_names_its_receiver() -> None:
    message = sample("phone", "https://sisu.example", datetime(2026, 1, 1, tzinfo=UTC))
    assert "phone" in message.text
    assert message.id.startswith("test_2026")
