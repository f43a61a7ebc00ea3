"""Text output: runs, gates and tables for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sisu_pipeline.domain.untrusted_text import for_cell

Json = Mapping[str, Any]

_MAX_ARTIFACTS = 12
_BINARY = "GIT binary patch"
STEPS = ("CompileST", "ApplyPatchST", "DecideST", "ExecuteST")


def table(rows: Iterable[Sequence[object]]) -> str:
    """Format rows as aligned columns, separated by two spaces."""
    cells = [[for_cell(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def run_list(page: Json) -> str:
    """Format a page of runs, one per line."""
    if not page["runs"]:
        return "No runs."
    rows = [("RUN", "STATUS", "LAST STEP", "PARTITION", "CREATED")]
    rows += [
        (run["runId"], run["status"], run["lastStep"] or "-", run["queuePartitionKey"], run["createdAt"])
        for run in page["runs"]
    ]
    more = f"\nMore: sisu run list --before {page['nextBefore']}" if page["nextBefore"] else ""
    return table(rows) + more


def run(view: Json, task_table: str = "") -> str:
    """Format a run in full: facts, steps, tasks, artifacts and the next command."""
    recipe = view["recipeRef"]
    facts = [
        *([("outcome", view["outcome"])] if "outcome" in view else []),
        ("run", view["runId"]),
        ("intent", view["intentId"]),
        ("status", view["status"] + (f" — {view['error']}" if view.get("error") else "")),
        ("recipe", f"{recipe['id']} (partition {view['queuePartitionKey']}, lane {view['lane']})"),
        ("policy", f"{view['policyRef']['id']}@{view['policyRef']['v']}"),
        ("Dagster run", view["dagsterRunId"] or "-"),
        *([("waits for a limit", view["waitsFor"])] if "waitsFor" in view else []),
        *planning(view),
        ("gate", gate(view)),
        ("tasks", tasks(view)),
        *push(view),
    ]
    shown = [task_table, ""] if task_table else []
    return "\n".join([table(facts), "", steps(view), "", *shown, artifacts(view), *_next(view)])


def planning(view: Json) -> list[tuple[str, str]]:
    """Format the sessions of the coding agent and their budget as facts."""
    shown = view.get("planning")
    if shown is None:
        return []
    limits = [f"{shown['maxPlanTokens']} tokens"] if shown["maxPlanTokens"] is not None else []
    limits += [f"${shown['maxPlanCostUSD']:g}"] if shown["maxPlanCostUSD"] is not None else []
    facts = [("plan budget", ", ".join(limits) or "no limit")]
    for session in shown["sessions"]:
        cost = "" if session["costUSD"] is None else f", ${session['costUSD']:.4f}"
        end = session["outcome"] if session["error"] is None else f"failed: {session['error']}"
        text = f"{session['agent']}, {session['tokens']} tokens{cost}, {session['durationMs'] / 1000:.1f} s, {end}"
        facts.append(("agent", text))
    return facts if shown["sessions"] else [*facts, ("agent", "at work")]


def push(view: Json) -> list[tuple[str, str]]:
    """Format the push of the result as a fact."""
    shown = view.get("push")
    if shown is None:
        return []
    where = f"{shown['branch']} to {shown['remote']}"
    if shown["state"] == "pushed":
        return [("push", f"pushed {where}, commit {shown['commit']}")]
    if shown["state"] == "failed":
        return [("push", f"failed: {shown['error']}")]
    last = "" if shown["error"] is None else f", attempt {shown['attempts']} failed: {shown['error']}"
    return [("push", f"waiting to push {where}{last}")]


def gates(view: Json) -> str:
    """Format a run's gates, plan and recorded interactions."""
    rows = [("GATE", "STATE", "OPENED", "DEADLINE")]
    rows += [(gate["gateKey"], gate["state"], gate["openedAt"], deadline(gate)) for gate in view["gates"]]
    plan = view["plan"]
    parts = [table(rows), "", f"Plan, version {plan['version']}, sha256 {plan['planSha256']}"]
    for name in ("design", "files", "risks", "tests"):
        parts += [f"{name}:", *(f"  {for_cell(item)}" for item in plan["plan"][name])]
    parts += _execution(plan)
    for patch in plan["patches"]:
        parts += [f"{_title(patch)}:", *(f"  note: {note}" for note in patch["remarks"])]
        parts += [f"  {line}" for line in _readable(patch["diffText"])]
    for gate in view["gates"]:
        if "form" in gate:
            parts += ["", f"question: {for_cell(gate['form']['question'])}"]
        parts += _rounds(gate, plan["versions"])
    recorded = [
        for_cell(f"{each['createdAt']} {each['actor']}: {each['kind']} ({each['channel'] or '-'})")
        for each in view["interactions"]
    ]
    return "\n".join([*parts, *(["", *recorded] if recorded else [])])


def _rounds(gate: Json, versions: Sequence[Json]) -> list[str]:
    """The requests for changes at a gate, with what they led to, and the versions of the plan."""
    made = gate.get("changes")
    lines = []
    for each in versions:
        author = each["agent"] or each["editedBy"]
        model = f" ({each['model']})" if each["model"] else ""
        lines.append(f"version {each['version']}: {each['planSha256'][:12]}… by {for_cell(author + model)}")
    if made is None or not (lines or made["rounds"]):
        return []
    for each in made["rounds"]:
        end = f"version {each['version']}" if each["version"] else each["error"] or each["outcome"]
        lines.append(for_cell(f"round {each['round']}: {each['requestedBy']}: {each['comment']} ({end})"))
    left = made["allowed"] - len(made["rounds"])
    return ["", *lines, f"changes may be requested {left} more time{'' if left == 1 else 's'}"]


def _title(patch: Json) -> str:
    """The operation and the paths of a patch."""
    path = for_cell(patch["targetPath"])
    return (
        f"{patch['op']} {for_cell(patch['fromPath'])} to {path}" if patch["fromPath"] else f"{patch['op']} {path}"
    )


def _readable(diff: str) -> list[str]:
    """The lines of a diff for a person: binary content is left out."""
    # Only line feeds: other line breaks are part of a line, and shown as escapes.
    lines = diff.removesuffix("\n").split("\n")
    if _BINARY not in lines:
        return lines
    return [*lines[: lines.index(_BINARY)], f"{_BINARY}: left out, --json has it"]


def _execution(plan: Json) -> list[str]:
    """Everything that is executed once the plan is approved."""
    # Imported only where it is used: most commands need no contract.
    from sisu_pipeline.domain.complete_plan import complete_plan_of

    if plan["complete"] is None:
        return ["commands: not part of this plan, which release 0.2.0 compiled"]
    complete = complete_plan_of(plan["complete"])
    lines = [f"commands ({len(complete.tasks)}):", *(f"  {for_cell(task.command)}" for task in complete.tasks)]
    lines += [f"sandbox: {for_cell(sandbox)}" for sandbox in dict.fromkeys(task.sandbox for task in complete.tasks)]
    if complete.setup is not None:
        lines += [f"prepare: {for_cell(complete.setup.command)}", f"setup: {for_cell(complete.setup.title)}"]
    return [
        *lines,
        f"recipe: {for_cell(complete.recipe.title)}",
        f"policy: {for_cell(complete.policy.title)}",
        f"base: {for_cell(complete.base.title)}",
        *([] if complete.push_title is None else [f"push: {for_cell(complete.push_title)}"]),
    ]


def deadline(gate: Json) -> str:
    """The deadline of a gate and what it leads to."""
    return f"{gate['deadlineAt']} then {gate['onTimeout']}" if gate["deadlineAt"] else "-"


def short(text: str, limit: int = 60) -> str:
    """The beginning of a text."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def progress(state: Json) -> str:
    """Format a run's progress on one line."""
    parts = [
        state["status"],
        f"last step {state['lastStep'] or '-'}",
        f"gate {gate(state)}",
        f"tasks {tasks(state)}",
    ]
    if state.get("waitsFor"):
        parts.append(f"waits for a limit: {state['waitsFor']}")
    if state.get("error"):
        parts.append(state["error"])
    return for_cell(" · ".join(parts))


def gate(state: Json) -> str:
    """Format the decision, or the state of the gate."""
    decision = state["decision"]
    if decision is not None:
        voters = [f"{vote['person']} ({vote['channel'] or '-'})" for vote in decision["votes"]]
        return f"{decision['decision']} by {', '.join(voters) or decision['decidedBy']}"
    return "not open yet" if state["gate"] is None else f"open, plan {state['gate']['planSha256'][:12]}…"


def history(events: list[Json]) -> str:
    """Format the changes of a run as a table."""
    names = ("at", "event", "person", "channel", "reason", "planSha256")
    rows: list[tuple[str, ...]] = [("TIME", "EVENT", "PERSON", "CHANNEL", "REASON", "PLAN")]
    rows += [tuple(short(event[name] or "-", 72) for name in names) for event in events]
    return table(rows)


def tasks(state: Json) -> str:
    """Format the progress of the fan-out."""
    counts = state["tasks"]
    if "total" not in counts:
        return "none yet"
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['finished']} of {counts['total']}{failed}"


def steps(view: Json) -> str:
    """Format the four steps with their times, and between them the wait for approval and the time of the tasks."""
    done = {step["stepId"]: step for step in view["steps"]}
    rows = [("STEP", "ATTEMPT", "STARTED", "FINISHED", "TOOK")]
    opened, decided = (view["gate"] or {}).get("openedAt"), (view["decision"] or {}).get("decidedAt")
    planned = done.get("DecideST", {}).get("finishedAt")
    ended = view["updatedAt"] if "outcome" in view else None
    waits = {"DecideST": ("(approval)", opened, decided), "ExecuteST": ("(tasks)", planned, ended)}
    for name in STEPS:
        title, start, end = waits.get(name, ("", None, None))
        if start and end and start < end and not (name == "ExecuteST" and not view["tasks"]["finished"]):
            rows.append((title, "-", start, end, _took(start, end)))
        step = done.get(name)
        if step is None:
            rows.append((name, "-", "-", "-", "-"))
        else:
            times = (step["startedAt"], step["finishedAt"])
            rows.append((name, step["attempt"], *times, _took(*times)))
    return table(rows)


def _took(start: str, end: str) -> str:
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.1f} s"


def artifacts(view: Json) -> str:
    """Format the first artifacts with their hashes."""
    if not view["artifacts"]:
        return "No artifacts yet."
    shown = view["artifacts"][:_MAX_ARTIFACTS]
    rows = [("ARTIFACT OF", "TASK", "NAME", "KIND", "SHA256")]
    rows += [(a["stepId"], a["taskKey"][:12] or "-", _name(a), a["kind"], a["sha256"][:16]) for a in shown]
    rest = view["artifactCount"] - len(shown)
    more = f"\n… and {rest} more" if rest else ""
    return f"{table(rows)}{more}\nFull URIs: sisu run show {view['runId']} --json"


def _name(artifact: Json) -> str:
    """The name in artifact://run/<run>/step/<step>/task/<task>/<name>; it may contain slashes."""
    return str(artifact["uri"].split("/", 8)[8])


def _next(view: Json) -> list[str]:
    if view["status"] == "waiting_input":
        return ["", f"Next: sisu run approve {view['runId']}"]
    if view["tasks"]["failed"]:
        return ["", f"Next: sisu run logs {view['runId']}, or sisu run retry {view['runId']}"]
    return []
