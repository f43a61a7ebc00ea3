"""Response models about the deployment: its health, its queues, the caller's session."""

from datetime import datetime
from typing import Literal

from sisu_pipeline.api.schemas.run_schemas import Count
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.domain.status import RunStatus


class Health(Contract):
    """The process is alive, and for `/readyz`, its database answers."""

    ok: Literal[True] = True
    """Always true."""


class Session(Contract):
    """The caller: name, roles and groups; null and every role while requests need not be authenticated."""

    owner: str | None
    """Owner of the caller's token or the name of the person; null while no token is required."""
    roles: list[Role]
    """Roles of the caller."""
    groups: list[str]
    """Groups of the caller at the identity provider; approval rules may name them."""
    dagster_url: str
    """Base URL of Dagster's pages."""
    app_version: str
    """Version of the deployment."""


class SignIn(Contract):
    """How a browser signs in."""

    provider: str | None
    """Path that leads to the identity provider; null where only tokens are accepted."""


class QueueDepthRow(Contract):
    """Work of one status on one queue. Times are milliseconds since 1970."""

    queue_name: str
    """Name of the queue."""
    status: str
    """Status of the work in DBOS."""
    workflow_count: Count
    """Number of workflows."""
    oldest_created_at: int | None
    """Creation of the oldest one; null without any."""
    newest_created_at: int | None
    """Creation of the newest one; null without any."""


class RunCount(Contract):
    """The number of runs of a status, with the creation of the oldest in milliseconds since 1970."""

    status: RunStatus
    """Status of the runs."""
    count: Count
    """Number of runs."""
    oldest_created_at: int | None
    """Creation of the oldest one; null without any."""


class VersionDepth(Contract):
    """Work of one application version. Only workers of that version execute it."""

    app_version: str
    """Version of the application."""
    queue_name: str
    """Name of the queue."""
    enqueued: Count
    """Workflows that wait for a worker."""
    pending: Count
    """Workflows that a worker executes."""


class QueueDepth(Contract):
    """Queued work: by queue, by status of the run, by application version."""

    queues: list[QueueDepthRow]
    """Work by queue and status."""
    runs: list[RunCount]
    """Runs by status."""
    versions: list[VersionDepth]
    """Work by application version."""


class Adoption(Contract):
    """A declaration: workers of the new version finish the work of the old one."""

    old_version: str
    """Version whose work is handed over."""
    new_version: str
    """Version whose workers finish it."""
    adopted_by: str
    """Operator who declared it."""
    channel: str
    """How it was declared: `api`, `inbox` or `cli`."""
    reason: str
    """Reason of the operator; may be empty."""
    adopted_at: datetime
    """Time of the declaration."""


class Adopted(Adoption):
    """A declaration and its effect."""

    is_replay: bool
    """Whether it was declared before."""
    handed_over: Count
    """Number of workflows that waited for the old version and were handed over now."""


class VersionView(Contract):
    """An application version: its unfinished runs, its work on the queues, its workers, its successor."""

    version: str
    """Version; if it has only workers and is longer than 34 characters, its beginning and a hash."""
    unfinished_runs: Count
    """Runs of this version that have not ended."""
    enqueued: Count
    """Workflows that wait for a worker."""
    pending: Count
    """Workflows that a worker executes."""
    workers: Count
    """Worker processes that are connected."""
    adoption: Adoption | None
    """Declaration of its successor; null without one."""


class Versions(Contract):
    """The application versions in use."""

    versions: list[VersionView]
    """Versions by name."""
