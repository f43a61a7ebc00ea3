"""`make demo`: two intents through the whole system over real HTTP, each step with its evidence.

Its data folder is `<SISU_HOME>/demo`. Run again on the same data it is a replay: same ids, same rows.
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
from sisu_pipeline.console.run_watch import ENDS
from sisu_pipeline.database_server import locate
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack, lab_stack
from sisu_pipeline.proof.labs.demo_project import FAILING_TEST, project_intent
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import settings
from sql import query

Write = Callable[[str], None]
Json = dict[str, Any]

MONOLITH: Json = {"goal": "demo", "inputs": {}, "constraints": {}}
RUN_REQUEST: Json = {"recipeName": "sandbox-default", "queuePartitionKey": "tenant-1"}
_LONGEST_ERROR = 12


@dataclass(frozen=True)
class Demo:
    """One intent on its way: the stack it runs on, and where to write."""

    stack: LabStack
    write: Write

    def run(self, intent: Json) -> Json:
        """The intent from submission to its end; returns the run's whole view."""
        api = Api(self.stack.url)
        kept = api.post("intents", body=_body(intent))
        self.say("POST /intents", f"{kept['intentId']} ({'there before' if kept['isReplay'] else 'new'})")
        started = api.post("intents", kept["intentId"], "run", body=_body(RUN_REQUEST))
        run = started["runId"]
        self.say(
            "POST /run", f"{run}, partition {RUN_REQUEST['queuePartitionKey']}, recipe {RUN_REQUEST['recipeName']}"
        )
        if started["isReplay"] and api.get("runs", run)["status"] in ENDS:
            return self._replay(api, run)
        self._until(api, run, "waiting_input")
        self._show_plan(api, api.get("runs", run))
        self._until(api, run, *ENDS)
        view: Json = api.get("runs", run)
        self._show_rows(view)
        return view

    def say(self, what: str, evidence: str) -> None:
        """One line of evidence."""
        self.write(f"  {what:<16} {evidence}")

    def _show_plan(self, api: Api, view: Json) -> None:
        plan = next(step["output"] for step in view["steps"] if step["stepId"] == "ApplyPatchST")
        card = next(artifact for artifact in view["artifacts"] if artifact["kind"] == "plan_card")
        self.say(
            "plan", f"{'; '.join(plan['design'])} — {len(plan['tests'])} tests, patches {plan['files'] or 'none'}"
        )
        self.say("plan's artifact", f"{card['uri']} sha256 {card['sha256'][:16]}…")
        gate = view["gate"]
        self.say("gate", f"{gate['gateKey']} asks about plan {gate['planSha256'][:16]}…; nothing runs meanwhile")
        approval = {"approvedBy": "po", "planSha256": gate["planSha256"]}
        decided = api.post("runs", view["runId"], "approve-plan", body=_body(approval))
        self.say("approve-plan", f"approved by po at {decided['approvedAt']}")

    def _show_rows(self, view: Json) -> None:
        error = f" — {view['error']}" if view.get("error") else ""
        self.say("status", f"{view['status']}{error}")
        for step in view["steps"]:
            self.say("step", f"{step['stepId']:<13} {step['startedAt']} to {step['finishedAt']}")
        for artifact in view["artifacts"][:4]:
            self.say("artifact", f"{artifact['uri'].split('/step/')[1][:60]} sha256 {artifact['sha256'][:16]}…")
        self.write(_indented(formatting.table([("table", "rows", "what"), *self._counts(view["runId"])])))
        dagster_run = view["dagsterRunId"]
        self.say("Dagster run", f"{dagster_run}, partition {view['intentId'][:16]}… of asset execution")

    def _replay(self, api: Api, run: str) -> Json:
        before = self._counts(run)
        view: Json = api.get("runs", run)
        self._show_rows(view)
        if self._counts(run) != before or len(view["steps"]) != 4:
            raise LabFailed(f"replaying {run} changed its rows")
        self.say("replay", "this intent ran before: the same ids, the same rows, nothing executed again")
        return view

    def _counts(self, run: str) -> list[tuple[str, int, str]]:
        with locate(self.stack.settings).connect() as connection:
            rows = connection.execute(query("demo.counts"), {"run_id": run}).fetchall()
        return [(row["table"], int(row["rows"] or 0), row["note"] or "") for row in rows]

    def _until(self, api: Api, run: str, *wanted: str) -> None:
        for state in api.run_events(run):
            if state["status"] in wanted:
                self.say("progress", formatting.progress(state))
                return
            if state["status"] in ENDS:
                raise LabFailed(f"{run} ended {state['status']}: {state.get('error')}")
        raise LabFailed(f"the events of {run} ended before it was {' or '.join(wanted)}")


def run_demo(write: Write) -> int:
    """Both intents; returns the exit code: 0 only when everything that is promised was seen."""
    home = settings().home / "demo"
    began = time.monotonic()
    try:
        _mock_part(home, write)
        ran_live = _live_part(home, write)
    except LabFailed as failure:
        write(f"\nThe demo failed: {failure}")
        return 1
    write(f"\nLook around: SISU_HOME={home} sisu start, then the Dagster UI's asset graph, partition by partition.")
    write(f"Demo {'done' if ran_live else 'incomplete'} after {time.monotonic() - began:.0f} s.")
    return 0 if ran_live else 1


def _mock_part(home: Path, write: Write) -> None:
    write("1. The seed's L02: one intent, planned, approved by a person, executed on the mock sandbox")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "mock"}) as stack:
        write(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        view = Demo(stack, write).run(MONOLITH)
        _expect(view["status"] == "succeeded", f"{view['runId']} is {view['status']}, not succeeded")
        _expect(view["tasks"] == {"total": 1, "finished": 1, "failed": 0}, f"tasks are {view['tasks']}")
        _judge(stack, write)
    write("  stopped          every process ended")


def _live_part(home: Path, write: Write) -> bool:
    """False when this machine's sandbox refuses: then nothing of it is claimed."""
    intent = project_intent()
    tests = intent["inputs"]["tests"]
    files = len(intent["inputs"]["files"])
    write(f"\n2. Real input: a Python project of {files} files, {len(tests)} of them tests, and a patch;")
    write("   each test file in a bubblewrap sandbox of its own; one fails, and must be reported as failed")
    try:
        health = check_sandbox(
            settings().model_copy(update={"sbx_mode": "live", "sbx_provider": "local", "sisu_home": home})
        )
    except SandboxUnavailable as refusal:
        write(f"  NOT RUN: {refusal}")
        return False
    write(f"  sandbox          self-test passed: {', '.join(f'{k} {v}' for k, v in health.detail.items())}")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "live", "SBX_PROVIDER": "local"}) as stack:
        write(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        write(_indented(intent["inputs"]["patches"][0]["diffText"].rstrip(), "    | "))
        view = Demo(stack, write).run(intent)
        _check_tasks(stack, view, tests, write)
        _judge(stack, write)
    write("  stopped          every process ended")
    return True


def _check_tasks(stack: LabStack, view: Json, tests: list[str], write: Write) -> None:
    with locate(stack.settings).connect() as connection:
        rows = connection.execute(query("demo.tasks"), {"run_id": view["runId"]}).fetchall()
    results = [(row["command"].split()[-1], row["err_code"], row["exit"], row["provider"]) for row in rows]
    write(_indented(formatting.table([("test", "errCode", "exit", "provider"), *results])))
    failed = [row for row in rows if row["err_code"] != "NONE"]
    for row in failed:
        write(_indented("\n".join(row["stderr"].splitlines()[-_LONGEST_ERROR:]), "    | "))
    _expect([result[0] for result in results] == tests, "not every test has its result")
    _expect([row["err_code"] for row in failed] == ["CMD_NONZERO"], f"{len(failed)} tasks failed, not one")
    _expect(failed[0]["command"].endswith(FAILING_TEST), f"{failed[0]['command']} failed, not {FAILING_TEST}")
    _expect(view["status"] == "retries_exceeded", f"the run is {view['status']}, not retries_exceeded")
    _expect(any(step["stepId"] == "ExecuteST" for step in view["steps"]), "ExecuteST has no row")


def _judge(stack: LabStack, write: Write) -> None:
    with locate(stack.settings).connect() as connection:
        verdicts = oracle.judge(connection)
    broken = [verdict.law for verdict in verdicts if not verdict.holds]
    write(f"  oracle           {len(verdicts)} laws, {len(broken)} broken")
    _expect(not broken, f"broken laws: {', '.join(broken)} (`sisu oracle` shows the rows)")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LabFailed(otherwise)


def _body(value: Json) -> bytes:
    return json.dumps(value).encode()


def _indented(text: str, margin: str = "    ") -> str:
    return "\n".join(margin + line for line in text.splitlines())
