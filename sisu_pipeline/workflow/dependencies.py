"""What steps depend on outside their own logic, opened once per process from the settings."""

from dataclasses import dataclass, field
from pathlib import Path

from resources.database import Database
from resources.git.mirrors import Mirrors, MirrorSettings
from resources.git.repository_address import AllowedRepositories
from resources.planner.planner_port import Planner
from resources.planner.replay_planner import ReplayPlanner
from resources.postgres_pool import PooledDatabase
from resources.process_cache import once
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.changes.declared_setup import SetupDefaults
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
    mirrors: Mirrors | None = None
    """The mirrors of repositories; None where there are none."""
    allowed_repositories: AllowedRepositories = field(default_factory=AllowedRepositories)
    """The repositories that intents may name."""
    gate_ttl_s: int = 3600
    """How long a gate waits when the intent sets no deadline, in seconds."""
    max_worker_deaths: int = 5
    """After how many deaths in a row of its workers a segment is parked."""
    start_limit: StartLimit | None = None
    """How many intents of one partition may start per period; None: any number."""


def open_dependencies(configuration: Settings) -> Dependencies:
    """Open the dependencies that these settings select. Raises DatabaseError or PlannerUnavailable."""
    return Dependencies(
        database=PooledDatabase(locate(configuration).url),
        planner=ReplayPlanner(FIXTURES),
        blobs=BlobStore(configuration.sisu_blob_store or str(configuration.home / "blobs")),
        workspaces=configuration.workspaces,
        task_defaults=TaskDefaults(
            configuration.sbx_default_timeout_ms,
            configuration.sbx_default_net,
            configuration.sandbox_provider,
            setup_defaults(configuration),
        ),
        app_version=configuration.dbos__appversion,
        api_url=configuration.api_url,
        asks_agent=configuration.asks_agent,
        queues_tasks=configuration.sisu_profile == "warm",
        mirrors=Mirrors(mirror_settings(configuration)),
        allowed_repositories=AllowedRepositories.parse(configuration.sisu_git_allow),
        gate_ttl_s=configuration.hitl_plan_approval_timeout_s,
        max_worker_deaths=configuration.intent_queue_max_worker_deaths,
        start_limit=configuration.start_limit,
    )


def setup_defaults(configuration: Settings) -> SetupDefaults:
    """What a planned setup takes over from the settings."""
    hosts = (host.strip() for host in configuration.sbx_setup_hosts.split(","))
    return SetupDefaults(
        hosts=tuple(sorted({host for host in hosts if host})),
        timeout_ms=configuration.sbx_setup_timeout_ms,
        disk_mb=configuration.sbx_setup_disk_mb,
    )


def mirror_settings(configuration: Settings) -> MirrorSettings:
    """Where mirrors of repositories are, and how they are fetched."""
    return MirrorSettings(
        folder=configuration.home / "mirrors",
        quota_mb=configuration.sisu_git_quota_mb,
        timeout_s=configuration.sisu_git_timeout_s,
        credentials=_path(configuration.sisu_git_credentials),
        ca_file=_path(configuration.sisu_git_ca_file),
        pauses_s=(1.0, 4.0),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser().resolve()


@once
def dependencies() -> Dependencies:
    """This process's dependencies."""
    return open_dependencies(settings())
