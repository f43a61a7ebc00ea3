"""The setups that runs used: one row per run and retry, with the layer that its tasks found."""

from dataclasses import dataclass
from typing import Literal

from resources.database import Connection
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.store.records import execute, fetch_value

Outcome = Literal["prepared", "cached", "simulated", "failed"]
"""`prepared`: the command was executed; `cached`: its earlier result was used; `simulated`: by the mock."""


@dataclass(frozen=True)
class UsedSetup:
    """How a run came to its setup. `exit_code` is None when the command was not executed, or was killed."""

    setup_sha256: str
    layer_sha256: str
    provider: str
    outcome: Outcome
    exit_code: int | None
    wall_ms: int


def record(connection: Connection, run_id: str, used: UsedSetup) -> None:
    """Record the setup of a run's current retry, once. Raises DeterminismBreach when another layer is recorded."""
    if execute(connection, "setups.insert", {"run_id": run_id, **vars(used)}):
        return
    recorded = fetch_value(connection, "setups.layer", {"run_id": run_id})
    if recorded != used.layer_sha256:
        raise DeterminismBreach(f"the tasks of {run_id} use the layer {recorded}, not {used.layer_sha256}")
