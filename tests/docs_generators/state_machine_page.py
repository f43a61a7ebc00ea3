"""`docs/state-machine.md`, from `sisu_pipeline/domain/status.py` and the reasons below."""

from dataclasses import dataclass

from sisu_pipeline.domain.status import TERMINAL, TRANSITIONS, RunStatus
from tests.docs_generators.markdown import NOTHING, GeneratedPage, code, table

_ENTER = "workflow/ownership.py:enter"
_SUSPEND = "workflow/ownership.py:suspend"
_FINISH = "workflow/step_execution.py:finish"
_END = "workflow/run_failure.py:end_run"
_CANCEL = "workflow/commands.py:cancel"
_RETRY = "workflow/commands.py:retry"
_TIME_OUT = "workflow/run_timeouts.py:cancel_late"

_INTRODUCTION = """\
# The states of a run

`app.runs.status` is the state of a run. `sisu_pipeline/domain/status.py` defines the transitions, the table
`app.run_transitions` holds the same pairs, and a trigger on `app.runs` rejects every other change.
`store/runs.py:move` is the only function that writes a status ([decision
0010](decisions/0010-status-machine-in-sql.md)). This page is generated from the code: `python -m
tests.docs_generators`.

"""

_AFTER_DIAGRAM = """
`succeeded` and `canceled` are final. From `failed` and `retries_exceeded` an explicit retry is the only way back;
it increases `retry_count` and starts a new Dagster run. No transition leads to `queued`.

## States

"""

_AFTER_STATES = """
## Transitions

*Who* is the function that calls `store/runs.py:move`. Paths are in `sisu_pipeline/`. A dash marks a transition that
the machine allows and no code performs.

"""

_MEANINGS = {
    RunStatus.QUEUED: "The run is accepted. No worker has begun its first segment.",
    RunStatus.RUNNING: "A worker executes a segment, or a dead worker's segment is back on `intentQ`.",
    RunStatus.WAITING_INPUT: "The run waits at a gate for a decision or an answer. No process works on it.",
    RunStatus.REPAIRING: "An operator retried the run. No worker has begun the new Dagster run.",
    RunStatus.SUCCEEDED: "ExecuteST is committed and every task succeeded.",
    RunStatus.FAILED: "Reserved for failures that are not retried automatically. No code ends a run with it.",
    RunStatus.CANCELED: "An operator canceled the run, or its `timeoutMS` passed. Cleanup rolls back its patches.",
    RunStatus.RETRIES_EXCEEDED: (
        "The run ended without success: a task or a step failed, a person or a deadline rejected the plan, or a"
        " budget was exceeded. `app.runs.error` holds the reason."
    ),
}


@dataclass(frozen=True)
class Cause:
    """When a transition happens, and the functions that perform it; None when no code does."""

    when: str
    who: str | None
    or_who: str | None = None


_UNUSED = Cause(NOTHING, None)
_CANCELED = Cause("an operator cancels the run, or its `timeoutMS` passes", _CANCEL, _TIME_OUT)

CAUSES = {
    (RunStatus.QUEUED, RunStatus.RUNNING): Cause("a worker begins the first segment", _ENTER),
    (RunStatus.QUEUED, RunStatus.FAILED): _UNUSED,
    (RunStatus.QUEUED, RunStatus.CANCELED): _CANCELED,
    (RunStatus.RUNNING, RunStatus.WAITING_INPUT): Cause(
        "only gated steps are left and their gate is open", _SUSPEND
    ),
    (RunStatus.RUNNING, RunStatus.SUCCEEDED): Cause("ExecuteST is committed and every task succeeded", _FINISH),
    (RunStatus.RUNNING, RunStatus.FAILED): _UNUSED,
    (RunStatus.RUNNING, RunStatus.CANCELED): _CANCELED,
    (RunStatus.RUNNING, RunStatus.RETRIES_EXCEEDED): Cause(
        "a step or a task failed, the plan was rejected, a budget was exceeded, or the Dagster run failed around"
        " its steps. A `queued` run that fails passes through `running` in the same transaction",
        _END,
    ),
    (RunStatus.WAITING_INPUT, RunStatus.RUNNING): Cause(
        "the gate is decided and a worker begins the next segment", _ENTER
    ),
    (RunStatus.WAITING_INPUT, RunStatus.FAILED): _UNUSED,
    (RunStatus.WAITING_INPUT, RunStatus.CANCELED): _CANCELED,
    (RunStatus.WAITING_INPUT, RunStatus.RETRIES_EXCEEDED): Cause("the waiting Dagster run failed", _END),
    (RunStatus.REPAIRING, RunStatus.RUNNING): Cause("a worker begins the segment of the retry", _ENTER),
    (RunStatus.REPAIRING, RunStatus.WAITING_INPUT): _UNUSED,
    (RunStatus.REPAIRING, RunStatus.SUCCEEDED): _UNUSED,
    (RunStatus.REPAIRING, RunStatus.FAILED): _UNUSED,
    (RunStatus.REPAIRING, RunStatus.CANCELED): _CANCELED,
    (RunStatus.REPAIRING, RunStatus.RETRIES_EXCEEDED): Cause("the Dagster run of the retry could not start", _END),
    (RunStatus.FAILED, RunStatus.REPAIRING): Cause("an operator retries the run", _RETRY),
    (RunStatus.RETRIES_EXCEEDED, RunStatus.REPAIRING): Cause(
        "an operator retries the run; refused with 409 when the plan was rejected", _RETRY
    ),
}


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + _diagram() + _AFTER_DIAGRAM + _states() + _AFTER_STATES + _transitions()


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [f"    {current} --> {wanted}" for current, wanted in _pairs()]
    lines += [f"    {status} --> [*]" for status in RunStatus if not TRANSITIONS[status]]
    return "\n".join([*lines, "```"]) + "\n"


def _states() -> str:
    rows = [(code(status), "yes" if status in TERMINAL else "no", _MEANINGS[status]) for status in RunStatus]
    return table(("state", "terminal", "meaning"), rows)


def _transitions() -> str:
    rows = []
    for current, wanted in _pairs():
        cause = CAUSES[current, wanted]
        who = ", ".join(code(name) for name in (cause.who, cause.or_who) if name)
        rows.append((code(current), code(wanted), cause.when, who))
    return table(("from", "to", "when", "who"), rows)


def _pairs() -> list[tuple[RunStatus, RunStatus]]:
    """Every transition, in the order of the states' definition."""
    return [(current, wanted) for current in RunStatus for wanted in RunStatus if wanted in TRANSITIONS[current]]


PAGE = GeneratedPage("state-machine.md", page)
