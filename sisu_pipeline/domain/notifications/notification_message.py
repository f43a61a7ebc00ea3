"""The message about an event, as a function of rows: a title and a text for people, a document for programs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sisu_pipeline.contracts.configuration.notification_receivers import EventKind
from sisu_pipeline.domain.untrusted_text import for_cell

ENGINE = "sisu:"
"""What the names of the pipeline's own parts begin with; no person's name does."""
_LONGEST_TITLE = 80
_LONGEST_LINE = 600

_ENDS = {
    "succeeded": "Run succeeded",
    "failed": "Run failed",
    "canceled": "Run canceled",
    "retries_exceeded": "Run failed after its last retry",
}
_DECISIONS = {
    "approved": "Plan approved",
    "rejected": "Plan rejected",
    "changes_requested": "Changes requested",
    "answered": "Question answered",
}
_OUTCOMES = {
    "approved": "the plan was approved",
    "rejected": "the plan was rejected",
    "unanswered": "the run ends without an answer",
}


@dataclass(frozen=True)
class Event:
    """An event with what its message names. `facts` are those of the moment at which it happened."""

    id: str
    kind: EventKind
    run_id: str
    workflow_id: str
    gate_key: str | None
    facts: dict[str, Any]
    created_at: datetime
    goal: str
    recipe: str
    queue_partition_key: str
    tenant_id: str | None
    question: str | None
    approvals: int | None


@dataclass(frozen=True)
class Message:
    """A message for people, and the same as a JSON document for programs. `id` is the same in every attempt."""

    id: str
    title: str
    text: str
    document: dict[str, Any]


def message_of(event: Event, api_url: str) -> Message:
    """The message about an event; its link opens the run in the inbox at `api_url`."""
    link = f"{api_url}/#/runs/{event.run_id}"
    lines = [f"Goal: {_line(event.goal)}", *_details(event), f"Open: {link}", f"Run: {event.run_id}"]
    text = "\n".join([*lines, f"Event: {event.id}"])
    title = f"{_heading(event)}: {_line(event.goal, _LONGEST_TITLE)}"
    return Message(event.id, title, text, _document(event, link))


def sample(name: str, api_url: str, now: datetime) -> Message:
    """A message by which a person checks that a receiver works; its id contains the time."""
    event_id = f"test_{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"
    text = f"The receiver {name} gets messages about runs like this one.\nOpen: {api_url}/\nEvent: {event_id}"
    data = {"receiver": name, "link": f"{api_url}/"}
    document = {"type": "test", "id": event_id, "timestamp": _iso(now), "data": data}
    return Message(event_id, "Test of notifications", text, document)


def _heading(event: Event) -> str:
    facts = event.facts
    is_question = facts.get("purpose") == "ask-user"
    match event.kind:
        case EventKind.GATE_OPENED:
            return "Answer needed" if is_question else "Approval needed"
        case EventKind.GATE_REMINDER:
            return "Reminder: answer needed" if is_question else "Reminder: approval needed"
        case EventKind.GATE_DECIDED:
            return _DECISIONS.get(facts["decision"], "Gate decided")
        case EventKind.GATE_TIMED_OUT:
            return "Deadline passed"
        case EventKind.RUN_ENDED:
            return _ENDS[facts["status"]]


def _details(event: Event) -> list[str]:
    """What is asked of the reader, or what has happened, one fact a line."""
    if event.kind in (EventKind.GATE_OPENED, EventKind.GATE_REMINDER):
        return _request(event)
    facts = event.facts
    if event.kind is EventKind.GATE_TIMED_OUT:
        return [f"Outcome: {_OUTCOMES.get(facts['decision'], facts['decision'])}"]
    person = facts.get("person", ENGINE)
    lines = [] if person.startswith(ENGINE) else [f"By: {_line(person)}"]
    comment = facts.get("notes") or facts.get("reason")
    if comment is not None and facts.get("status") != "succeeded":
        lines.append(f"Reason: {_line(comment)}")
    return lines


def _request(event: Event) -> list[str]:
    facts = event.facts
    lines = []
    if event.question is not None:
        lines.append(f"Question: {_line(event.question)}")
    else:
        lines.append(f"Plan: {facts['planSha256']}")
        if event.approvals is not None and event.approvals > 1:
            lines.append(f"Approvals required: {event.approvals}")
    if "deadlineAt" in facts:
        lines.append(f"Deadline: {facts['deadlineAt']}, {_declared(event)}")
    return lines


def _declared(event: Event) -> str:
    if event.question is not None:
        return "then the run ends without an answer"
    return "then the plan is approved" if event.facts.get("onTimeout") == "approve" else "then the plan is rejected"


def _document(event: Event, link: str) -> dict[str, Any]:
    """The body of a webhook: `type`, `timestamp` and `data`, as in Standard Webhooks, beside the `id`."""
    data = {
        "runId": event.run_id,
        "workflowId": event.workflow_id,
        "gateKey": event.gate_key,
        "goal": event.goal,
        "recipe": event.recipe,
        "queuePartitionKey": event.queue_partition_key,
        "tenantId": event.tenant_id,
        "question": event.question,
        "link": link,
        **event.facts,
    }
    present = {name: value for name, value in data.items() if value is not None}
    return {"type": str(event.kind), "id": event.id, "timestamp": _iso(event.created_at), "data": present}


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(text: str, longest: int = _LONGEST_LINE) -> str:
    """A text of a submitter or an agent as one line of bounded length, with hidden characters as escapes."""
    line = for_cell(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
