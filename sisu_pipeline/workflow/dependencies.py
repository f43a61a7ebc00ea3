"""What steps depend on outside their own logic, opened once per process from the settings."""

from dataclasses import dataclass
from pathlib import Path

from resources.database import Database
from resources.planner.planner_port import Planner
from resources.planner.replay_planner import ReplayPlanner
from resources.postgres_pool import PooledDatabase
from resources.process_cache import once
from sisu_pipeline.database_server import locate
from sisu_pipeline.settings import PROJECT_ROOT, Settings, settings
from sisu_pipeline.steps.execute import TaskDefaults
from sisu_pipeline.store.outputs.artifacts import BlobStore

FIXTURES = PROJECT_ROOT / "fixtures" / "oc"
"""Recorded answers of planners."""


@dataclass(frozen=True)
class Dependencies:
    """The ports and settings of steps."""

    database: Database
    planner: Planner
    blobs: BlobStore
    workspaces: Path
    task_defaults: TaskDefaults
    app_version: str
    queues_tasks: bool
    """True when tasks go to `sbxQ`; False in the portable profile, where a step runs its own tasks."""
    api_url: str = "http://127.0.0.1:3001"
    """The API's address for browsers, which links in Dagster's metadata start with."""
    asks_agent: bool = False
    """True when a coding agent makes the plans: a run then waits for the answer in the ledger."""
    gate_ttl_s: int = 3600
    """How long a gate waits when the intent sets no deadline, in seconds."""


def open_dependencies(configuration: Settings) -> Dependencies:
    """Open the dependencies that these settings select. Raises DatabaseError or PlannerUnavailable."""
    return Dependencies(
        database=PooledDatabase(locate(configuration).url),
        planner=ReplayPlanner(FIXTURES),
        blobs=BlobStore(configuration.sisu_blob_store or str(configuration.home / "blobs")),
        workspaces=configuration.workspaces,
        task_defaults=TaskDefaults(
            configuration.sbx_default_timeout_ms, configuration.sbx_default_net, configuration.sandbox_provider
        ),
        app_version=configuration.dbos__appversion,
        api_url=configuration.api_url,
        asks_agent=configuration.asks_agent,
        queues_tasks=configuration.sisu_profile == "warm",
        gate_ttl_s=configuration.hitl_plan_approval_timeout_s,
    )


@once
def dependencies() -> Dependencies:
    """This process's dependencies."""
    return open_dependencies(settings())
