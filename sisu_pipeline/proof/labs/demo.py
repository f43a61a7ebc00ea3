"""`make demo`: run two intents through the whole system over HTTP and print the evidence of each step.

Its data folder is `<SISU_HOME>/demo`. A second run on the same data is a replay: same ids, same rows.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline import oracle
from sisu_pipeline.console import formatting
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack, lab_stack
from sisu_pipeline.proof.labs.demo_project import FAILING_TEST, project_intent
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import settings
from sql import query

PrintLine = Callable[[str], None]
Json = dict[str, Any]

MONOLITH: Json = {"goal": "demo", "inputs": {}, "constraints": {}}
RUN_REQUEST: Json = {"recipeName": "sandbox-default", "queuePartitionKey": "tenant-1"}
_MAX_ERROR_LINES = 12


@dataclass(frozen=True)
class Demo:
    """Run one intent on a stack and print its progress."""

    stack: LabStack
    print_line: PrintLine

    def run(self, intent: Json) -> Json:
        """Run the intent from submission to its end; returns the run's view."""
        api = Api(self.stack.url)
        stored = api.post("intents", body=_body(intent))
        self.print_evidence(
            "POST /intents", f"{stored['intentId']} ({'already stored' if stored['isReplay'] else 'new'})"
        )
        started = api.post("intents", stored["intentId"], "run", body=_body(RUN_REQUEST))
        run = started["runId"]
        self.print_evidence(
            "POST /run", f"{run}, partition {RUN_REQUEST['queuePartitionKey']}, recipe {RUN_REQUEST['recipeName']}"
        )
        if started["isReplay"] and api.get("runs", run)["status"] in TERMINAL:
            return self._replay(api, run)
        self._wait_for(api, run, "waiting_input")
        self._show_plan(api, api.get("runs", run))
        self._wait_for(api, run, *TERMINAL)
        view: Json = api.get("runs", run)
        self._show_rows(view)
        return view

    def print_evidence(self, what: str, evidence: str) -> None:
        """Print one line of evidence."""
        self.print_line(f"  {what:<16} {evidence}")

    def _show_plan(self, api: Api, view: Json) -> None:
        plan = next(step["output"] for step in view["steps"] if step["stepId"] == "ApplyPatchST")
        card = next(artifact for artifact in view["artifacts"] if artifact["kind"] == "plan_card")
        self.print_evidence(
            "plan", f"{'; '.join(plan['design'])} — {len(plan['tests'])} tests, patches {plan['files'] or 'none'}"
        )
        self.print_evidence("plan artifact", f"{card['uri']} sha256 {card['sha256'][:16]}…")
        gate = view["gate"]
        self.print_evidence(
            "gate",
            f"{gate['gateKey']} is open for plan {gate['planSha256'][:16]}…; nothing runs meanwhile",
        )
        approval = {"approvedBy": "po", "planSha256": gate["planSha256"]}
        decided = api.post("runs", view["runId"], "approve-plan", body=_body(approval))
        self.print_evidence("approve-plan", f"approved by po at {decided['approvedAt']}")

    def _show_rows(self, view: Json) -> None:
        error = f" — {view['error']}" if view.get("error") else ""
        self.print_evidence("status", f"{view['status']}{error}")
        for step in view["steps"]:
            self.print_evidence("step", f"{step['stepId']:<13} {step['startedAt']} to {step['finishedAt']}")
        for artifact in view["artifacts"][:4]:
            self.print_evidence(
                "artifact", f"{artifact['uri'].split('/step/')[1][:60]} sha256 {artifact['sha256'][:16]}…"
            )
        self.print_line(_indented(formatting.table([("table", "rows", "what"), *self._counts(view["runId"])])))
        dagster_run = view["dagsterRunId"]
        self.print_evidence("Dagster run", f"{dagster_run}, partition {view['intentId'][:16]}… of asset execution")

    def _replay(self, api: Api, run: str) -> Json:
        before = self._counts(run)
        view: Json = api.get("runs", run)
        self._show_rows(view)
        if self._counts(run) != before or len(view["steps"]) != 4:
            raise LabFailed(f"replaying {run} changed its rows")
        self.print_evidence(
            "replay", "this intent has run before: the same ids, the same rows, nothing executed again"
        )
        return view

    def _counts(self, run: str) -> list[tuple[str, int, str]]:
        with locate(self.stack.settings).connect() as connection:
            rows = connection.execute(query("demo.counts"), {"run_id": run}).fetchall()
        return [(row["table"], int(row["rows"] or 0), row["note"] or "") for row in rows]

    def _wait_for(self, api: Api, run: str, *statuses: str) -> None:
        for state in api.run_events(run):
            if state["status"] in statuses:
                self.print_evidence("progress", formatting.progress(state))
                return
            if state["status"] in TERMINAL:
                raise LabFailed(f"{run} ended {state['status']}: {state.get('error')}")
        raise LabFailed(f"the event stream of {run} ended before its status was {' or '.join(statuses)}")


def run_demo(print_line: PrintLine) -> int:
    """Run both intents; returns the exit code, 0 only when every expectation was met."""
    home = settings().home / "demo"
    began = time.monotonic()
    try:
        _run_on_mock_sandbox(home, print_line)
        ran_live = _run_in_local_sandbox(home, print_line)
    except LabFailed as failure:
        print_line(f"\nThe demo failed: {failure}")
        return 1
    print_line(
        f"\nExplore: SISU_HOME={home} sisu start; in Dagster's UI each intent is a partition of the asset graph."
    )
    print_line(f"Demo {'completed' if ran_live else 'incomplete'} after {time.monotonic() - began:.0f} s.")
    return 0 if ran_live else 1


def _run_on_mock_sandbox(home: Path, print_line: PrintLine) -> None:
    print_line("1. Lab L02: one intent is planned, approved and executed on the mock sandbox")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "mock"}) as stack:
        print_line(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        view = Demo(stack, print_line).run(MONOLITH)
        _expect(view["status"] == "succeeded", f"expected {view['runId']} to succeed, got {view['status']}")
        _expect(
            view["tasks"] == {"total": 1, "finished": 1, "failed": 0}, f"unexpected task counts: {view['tasks']}"
        )
        _judge(stack, print_line)
    print_line("  stopped          every process exited")


def _run_in_local_sandbox(home: Path, print_line: PrintLine) -> bool:
    """False when this machine cannot isolate processes: the part is then reported as not run."""
    intent = project_intent()
    tests = intent["inputs"]["tests"]
    files = len(intent["inputs"]["files"])
    print_line(f"\n2. A Python project of {files} files, {len(tests)} of them tests, and a patch;")
    print_line("   each test file runs in its own bubblewrap sandbox; one fails and must be reported as failed")
    try:
        health = check_sandbox(
            settings().model_copy(update={"sbx_mode": "live", "sbx_provider": "local", "sisu_home": home})
        )
    except SandboxUnavailable as refusal:
        print_line(f"  NOT RUN: {refusal}")
        return False
    print_line(f"  sandbox          self-test passed: {', '.join(f'{k} {v}' for k, v in health.detail.items())}")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "live", "SBX_PROVIDER": "local"}) as stack:
        print_line(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        print_line(_indented(intent["inputs"]["patches"][0]["diffText"].rstrip(), "    | "))
        view = Demo(stack, print_line).run(intent)
        _check_tasks(stack, view, tests, print_line)
        _judge(stack, print_line)
    print_line("  stopped          every process exited")
    return True


def _check_tasks(stack: LabStack, view: Json, tests: list[str], print_line: PrintLine) -> None:
    with locate(stack.settings).connect() as connection:
        rows = connection.execute(query("demo.tasks"), {"run_id": view["runId"]}).fetchall()
    results = [(row["command"].split()[-1], row["err_code"], row["exit"], row["provider"]) for row in rows]
    print_line(_indented(formatting.table([("test", "errCode", "exit", "provider"), *results])))
    failed = [row for row in rows if row["err_code"] != "NONE"]
    for row in failed:
        print_line(_indented("\n".join(row["stderr"].splitlines()[-_MAX_ERROR_LINES:]), "    | "))
    _expect([result[0] for result in results] == tests, "results do not match the tests")
    _expect([row["err_code"] for row in failed] == ["CMD_NONZERO"], f"expected one failed task, got {len(failed)}")
    _expect(
        failed[0]["command"].endswith(FAILING_TEST), f"expected {FAILING_TEST} to fail, got {failed[0]['command']}"
    )
    _expect(view["status"] == "retries_exceeded", f"expected status retries_exceeded, got {view['status']}")
    _expect(any(step["stepId"] == "ExecuteST" for step in view["steps"]), "ExecuteST has no step row")


def _judge(stack: LabStack, print_line: PrintLine) -> None:
    with locate(stack.settings).connect() as connection:
        verdicts = oracle.judge(connection)
    broken = [verdict.law for verdict in verdicts if not verdict.holds]
    print_line(f"  oracle           {len(verdicts)} laws, {len(broken)} broken")
    _expect(not broken, f"broken laws: {', '.join(broken)} (`sisu oracle` shows the rows)")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LabFailed(otherwise)


def _body(value: Json) -> bytes:
    return json.dumps(value).encode()


def _indented(text: str, margin: str = "    ") -> str:
    return "\n".join(margin + line for line in text.splitlines())
