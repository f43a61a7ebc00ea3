"""Text output: lists of open gates, results of many decisions, delegations and the history of all runs."""

from collections.abc import Mapping
from typing import Any

from sisu_pipeline.console.formatting import deadline, short, table

Json = Mapping[str, Any]


def inbox(page: Json) -> str:
    """Format a page of open gates, one per line, how many of all they are, and the work that has no worker."""
    gates, count = page["gates"], page["gateCount"]
    rows = [("RUN", "PURPOSE", "OPENED", "DEADLINE", "ASKED", "GOAL")]
    rows += [
        (gate["runId"], gate["purpose"], gate["openedAt"], deadline(gate), _asked(gate), short(gate["goal"]))
        for gate in gates
    ]
    stranded_lines = [
        f"stranded: {each['enqueued']} on {each['queueName']} for version {each['appVersion']}, which has no worker"
        for each in page["stranded"]
    ]
    hidden = [f"{len(gates)} of {count} open gates, the nearest deadlines first"] if count > len(gates) else []
    more = [f"More: sisu gate list --cursor {page['nextCursor']}"] if page["nextCursor"] else []
    return "\n".join([table(rows) if gates else "No open gates.", *hidden, *more, *stranded_lines])


def _asked(gate: Json) -> str:
    """Who is asked to decide, in a few names."""
    asked = gate["asked"]
    names = [*asked["people"], *(f"@{group}" for group in asked["groups"])]
    names += [f"{name} (substitute)" for name in asked["delegates"]]
    return short(", ".join(names), 40) or "-"


def decisions(decided: Json) -> str:
    """Format the results of many decisions, one per line, and how many were refused."""
    rows = [(each["runId"], each["outcome"], _remark(each)) for each in decided["results"]]
    return f"{table(rows)}\n{decided['recorded']} recorded, {decided['refused']} refused"


def _remark(result: Json) -> str:
    if "problem" in result:
        return f"{result['problem']['error']} [{result['problem']['code']}]"
    if "approvals" in result:
        return f"{result['approvals']['given']} of {result['approvals']['required']} approvals given"
    return str(result["decidedAt"])


def delegations(found: Json) -> str:
    """Format the substitutes, one per line."""
    if not found["delegations"]:
        return "No one has a substitute."
    rows = [("PERSON", "SUBSTITUTE", "FROM", "TO", "REASON")]
    rows += [
        (each["person"], each["delegate"], each["beginsAt"], each["endsAt"], each["reason"] or "-")
        for each in found["delegations"]
    ]
    return table(rows)


def history_of_all(page: Json) -> str:
    """Format changes of many runs, one per line, the newest first."""
    if not page["events"]:
        return "No changes."
    rows = [("TIME", "RUN", "EVENT", "PERSON", "CHANNEL", "REASON", "GOAL")]
    rows += [
        (
            *(each["at"], each["runId"], each["event"], each["person"] or "-", each["channel"] or "-"),
            *(short(each["reason"] or "-", 40), short(each["goal"], 40)),
        )
        for each in page["events"]
    ]
    more = f"\nMore: sisu run history --all --cursor {page['nextCursor']}" if page["nextCursor"] else ""
    return table(rows) + more
