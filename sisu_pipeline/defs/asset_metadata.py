"""Metadata of materializations, for readers of the Dagster UI. Text of others is never Markdown there."""

import itertools
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

import dagster as dg

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import timing_plot
from sisu_pipeline.domain.canonical import canonical_pieces, sha256_pieces
from sisu_pipeline.domain.changes.plan_changes import changes_of
from sisu_pipeline.domain.untrusted_text import code_block, for_cell, for_markdown
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import bases, gates, intents, plans, runs, tasks
from sisu_pipeline.store.records import iso
from sisu_pipeline.store.rules.decisions import RecordedDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow.dependencies import Dependencies

Metadata = dict[str, Any]

MAX_ROWS = 200
"""How many tasks an event shows at most; all of them are in `app.sbx_runs`."""
MAX_DIFF = 50_000
"""How many characters of the plan's diff an event shows at most; the API returns all of it."""
MAX_TEXT = 2_000
"""How many characters of a goal, a command or an item of a list an event shows at most."""


def of_step(dependencies: Dependencies, workflow_id: str, result: StepResult) -> Metadata:
    """The metadata of a step: what it produced, and links to its rows."""
    with dependencies.database.connect() as connection:
        run = runs.get(connection, workflow_id)
        plan_hash = gates.plan_hash(connection, run.id)
        planned = _planned(connection, run, result.step)
    common: Metadata = {
        "run": dg.MetadataValue.url(f"{dependencies.api_url}/runs/{run.id}"),
        "replayed": result.is_replay,
        "output_sha256": sha256_pieces(canonical_pieces(result.output)),
    }
    if result.artifacts:
        common["artifacts"] = dg.MetadataValue.md(_artifact_list(dependencies, result))
    describe = {
        StepId.COMPILE: _plan,
        StepId.APPLY_PATCH: _plan,
        StepId.DECIDE: _decision,
        StepId.EXECUTE: _execution,
    }[result.step]
    gate: Metadata = {}
    patches = sum(artifact.kind == "patch_apply" for artifact in result.artifacts)
    if result.step is StepId.APPLY_PATCH and plan_hash:
        gate = {
            "patches_applied": patches,
            "plan_sha256": plan_hash,
            "decide": dg.MetadataValue.url(f"{dependencies.api_url}/#/runs/{run.id}"),
        }
    return describe(result.output) | planned | gate | common


def of_decision(decided: RecordedDecision) -> Metadata:
    """The metadata of a decision: who decided what, when, on which plan."""
    return {
        "decision": str(decided.decision),
        "decided_by": decided.decided_by,
        "decided_at": iso(decided.decided_at),
        "notes": decided.notes or "",
        "plan_sha256": decided.plan_sha256 or "",
    }


def of_tasks(dependencies: Dependencies, workflow_id: str) -> Metadata:
    """The metadata of an execution: its tasks and their durations."""
    with dependencies.database.connect() as connection:
        run = runs.get(connection, workflow_id)
        durations = tasks.durations(connection, run.id)
        with closing(tasks.results(connection, run.id)) as stored:
            results = list(itertools.islice(stored, MAX_ROWS))
    records = [
        dg.TableRecord(
            {
                "command": _beginning(result.command),
                "result": str(result.err_code),
                "exit": result.exit,
                "attempt": result.attempt,
                "wall_ms": result.metrics["wallMs"],
                "task": result.key[:12],
                "artifacts": artifact_url(dependencies, result.artifact_index_ref),
            }
        )
        for result in results
    ]
    table = {"task_table": dg.MetadataValue.table(records)} if records else {}
    plot = timing_plot.markdown(durations.wall_ms)
    histogram = {"task_durations": dg.MetadataValue.md(plot)} if plot else {}
    return {"tasks": len(durations.wall_ms), "tasks_failed": durations.failed, **histogram, **table}


def _plan(plan: Mapping[str, Any]) -> Metadata:
    lines = [
        f"**{for_markdown(_beginning(plan['goal']))}**",
        "",
        *_bullets("Design", plan["design"]),
        *_bullets("Files", plan["files"]),
    ]
    lines += [*_bullets("Risks", plan["risks"]), *_bullets("Tests", plan["tests"])]
    return {
        "goal": _beginning(plan["goal"]),
        "plan": dg.MetadataValue.md("\n".join(lines)),
        "tests": len(plan["tests"]),
    }


def _planned(connection: Connection, run: Run, step: StepId) -> Metadata:
    """Everything that is executed once the run's plan is approved, as CLI and inbox show it."""
    if step not in (StepId.COMPILE, StepId.APPLY_PATCH):
        return {}
    stored = plans.find(connection, run.id)
    complete = None if stored is None else plans.complete(connection, run.id, stored.number)
    if stored is None or complete is None:
        return {}
    commands = [_beginning(task.command) for task in complete.tasks[:MAX_ROWS]]
    more = [f"… and {len(complete.tasks) - MAX_ROWS} more"] if len(complete.tasks) > MAX_ROWS else []
    described: Metadata = {
        "commands": dg.MetadataValue.md(code_block("\n".join([*map(for_cell, commands), *more]))),
        "sandbox": "\n".join(dict.fromkeys(for_cell(task.sandbox) for task in complete.tasks)),
        "recipe": for_cell(complete.recipe.title),
        "policy": for_cell(complete.policy.title),
        **({} if complete.push_title is None else {"push": for_cell(complete.push_title)}),
        "base": for_cell(complete.base.title),
    }
    if complete.setup is not None:
        described["prepare"] = dg.MetadataValue.md(code_block(for_cell(complete.setup.command)))
        described["setup"] = for_cell(complete.setup.title)
    files = bases.files(connection, run.id, intents.get(connection, run.intent_id))
    changes = changes_of(stored.read(), files)
    notes = [f"{for_cell(change.path)}: {note}" for change in changes for note in change.remarks]
    if notes:
        described["notes"] = "\n".join(notes)
    if changes:
        described["changes"] = "\n".join(for_cell(change.title) for change in changes)
        diff = "".join(change.diff for change in changes)
        cut = f"\n… cut after {MAX_DIFF} of {len(diff)} characters" if len(diff) > MAX_DIFF else ""
        described["diff"] = dg.MetadataValue.md(code_block(diff[:MAX_DIFF] + cut))
    return described


def _decision(output: Mapping[str, Any]) -> Metadata:
    build = output["structured"]
    return {
        "test_command": _beginning(build["test_command"]),
        "tests": len(build["tests"]),
        "patches_proposed": len(build["patch"]),
    }


def _execution(output: Mapping[str, Any]) -> Metadata:
    return {
        "result": output["errCode"],
        "exit": output["exit"],
        "wall_ms": output["metrics"]["wallMs"],
        "stdout": dg.MetadataValue.md(code_block(output["stdout"][:2000])),
    }


def _bullets(title: str, items: list[str], most: int = 20) -> list[str]:
    if not items:
        return []
    more = [f"- … and {len(items) - most} more"] if len(items) > most else []
    return [f"*{title}*", *(f"- {for_markdown(_beginning(item))}" for item in items[:most]), *more, ""]


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def artifact_url(dependencies: Dependencies, uri: str) -> str:
    """The URL of an artifact in the API, without an encoded slash, which some proxies refuse."""
    return f"{dependencies.api_url}/artifacts/{quote(uri.removeprefix('artifact://'), safe='/')}"


def _artifact_list(dependencies: Dependencies, result: StepResult) -> str:
    return "\n".join(
        f"- [{for_markdown(artifact.uri.rpartition('/')[2])}]({artifact_url(dependencies, artifact.uri)}) "
        f"{artifact.kind}, sha256 {artifact.sha256[:12]}"
        for artifact in result.artifacts[:50]
    )
