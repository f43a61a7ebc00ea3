"""Ready-made intents and runs, kept through the real policy and store."""

from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.domain.policy import admit
from sisu_pipeline.store import intents, runs
from sisu_pipeline.store.runs import Run


def an_intent(
    goal: str = "Make the tests pass",
    *,
    inputs: dict[str, Any] | None = None,
    constraints: dict[str, Any] | None = None,
    connectors: list[str] | None = None,
) -> Intent:
    """An intent; another goal or other inputs are another intent."""
    return Intent(goal=goal, inputs=inputs or {}, constraints=constraints or {}, connectors=connectors)


def a_request(**request: Any) -> RunRequest:
    """A run request that policy admits, by its wire names: `a_request(tenantId="t-1")`."""
    return RunRequest.from_json({"queuePartitionKey": "team-a", **request})


def a_run(connection: Connection, intent: Intent | None = None, **request: Any) -> Run:
    """The queued run of an intent (kept here too); `request` by its wire names."""
    kept = intents.store(connection, intent or an_intent())
    admission = admit(a_request(**request), intents.recipes(connection))
    runs.start(connection, kept.id, admission, app_version="v1")
    return runs.get(connection, kept.id)
