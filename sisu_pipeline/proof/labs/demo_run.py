"""One intent on the demo's stack: submitted, approved and executed over HTTP, with the evidence of each step."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sisu_pipeline import oracle
from sisu_pipeline.console import formatting
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack
from sql import query

PrintLine = Callable[[str], None]
Json = dict[str, Any]

RUN_REQUEST: Json = {"recipeName": "sandbox-default", "queuePartitionKey": "tenant-1"}
MARGIN = "    | "
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
        self._show_plan(api, self._wait_for_gate(api, run))
        self._wait_for_end(api, run)
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
        for name, session in formatting.planning(view):
            self.print_evidence(name, session)
        self.print_line(indented(api.download("runs", view["runId"], "patch").decode().rstrip(), MARGIN))
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
        self.print_line(indented(formatting.table([("table", "rows", "what"), *self._counts(view["runId"])])))
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

    def _wait_for_gate(self, api: Api, run: str) -> Json:
        """Wait until the plan waits for approval; returns the run's view. A run also waits while an agent plans."""
        for state in api.run_events(run):
            if state["status"] == "waiting_input":
                view: Json = api.get("runs", run)
                if view.get("gate"):
                    self.print_evidence("progress", formatting.progress(state))
                    return view
                self.print_evidence("progress", "waits for the agent's plan on compileQ; no intent worker waits")
            if state["status"] in TERMINAL:
                raise LabFailed(f"{run} ended {state['status']}: {state.get('error')}")
        raise LabFailed(f"the event stream of {run} ended before its plan waited for approval")

    def _wait_for_end(self, api: Api, run: str) -> None:
        for state in api.run_events(run):
            if state["status"] in TERMINAL:
                self.print_evidence("progress", formatting.progress(state))
                return
        raise LabFailed(f"the event stream of {run} ended before the run")


def show_tasks(stack: LabStack, view: Json, print_line: PrintLine) -> list[Json]:
    """Print the result of each task and the errors of those that failed; returns their rows."""
    with locate(stack.settings).connect() as connection:
        rows = connection.execute(query("demo.tasks"), {"run_id": view["runId"]}).fetchall()
    results = [(row["command"].split()[-1], row["err_code"], row["exit"], row["provider"]) for row in rows]
    print_line(indented(formatting.table([("test", "errCode", "exit", "provider"), *results])))
    for row in rows:
        if row["err_code"] != "NONE":
            print_line(indented("\n".join(row["stderr"].splitlines()[-_MAX_ERROR_LINES:]), MARGIN))
    return rows


def judge(stack: LabStack, print_line: PrintLine) -> None:
    with locate(stack.settings).connect() as connection:
        verdicts = oracle.judge(connection)
    broken = [verdict.law for verdict in verdicts if not verdict.holds]
    print_line(f"  oracle           {len(verdicts)} laws, {len(broken)} broken")
    expect(not broken, f"broken laws: {', '.join(broken)} (`sisu oracle` shows the rows)")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LabFailed(otherwise)


def _body(value: Json) -> bytes:
    return json.dumps(value).encode()


def indented(text: str, margin: str = "    ") -> str:
    return "\n".join(margin + line for line in text.splitlines())
