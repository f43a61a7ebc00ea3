"""The gates of runs, and the list of the open ones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import ASK_GATE, PLAN_GATE
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_value


@dataclass(frozen=True)
class HumanGate:
    """A gate as it was opened; `plan_sha256` is of the compiled plan, `form` only of an ask gate."""

    run_id: str
    gate_key: str
    purpose: str
    plan_sha256: str
    on_timeout: TimeoutOutcome
    form: dict[str, Any] | None
    created_at: datetime
    deadline_at: datetime | None

    @property
    def is_plan_gate(self) -> bool:
        """True when it waits for a decision on the plan."""
        return self.purpose == PLAN_GATE

    @property
    def is_ask_gate(self) -> bool:
        """True when it waits for an answer."""
        return self.purpose == ASK_GATE


@dataclass(frozen=True)
class ListedGate(HumanGate):
    """A gate beside its run; `current_sha256` is of the plan as it is now, which the approvals given are for."""

    workflow_id: str
    status: RunStatus
    tenant_id: str | None
    goal: str
    current_sha256: str
    approvals_required: int
    form_fields: list[str] | None


def find(connection: Connection, run_id: str, gate_key: str) -> HumanGate | None:
    """One gate of a run; None when it is not open."""
    return fetch_first(connection, "gates.get", HumanGate, {"run_id": run_id, "gate_key": gate_key})


def of_run(connection: Connection, run_id: str) -> list[HumanGate]:
    """A run's gates, in the order they opened."""
    return fetch_all(connection, "gates.of_run", HumanGate, {"run_id": run_id})


def is_answered(connection: Connection, run_id: str, gate_key: str) -> bool:
    """Whether an ask gate has an answer, or has passed its deadline without one."""
    return execute(connection, "gates.answer", {"run_id": run_id, "gate_key": gate_key}) > 0


def waiting(connection: Connection, limit: int) -> list[ListedGate]:
    """The undecided gates of runs that have not ended, the next deadline first."""
    return fetch_all(connection, "gates.waiting", ListedGate, {"limit": limit})


def count_waiting(connection: Connection, limit: int) -> int:
    """The number of undecided gates of runs that have not ended, at most `limit`."""
    return int(fetch_value(connection, "gates.count_waiting", {"limit": limit}))
