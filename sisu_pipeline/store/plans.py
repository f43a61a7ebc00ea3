"""Versions of plans: version 1 is compiled, people make the following ones; the newest one is executed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store.records import fetch_all, fetch_first, fetch_one, fetch_value


@dataclass(frozen=True)
class Version:
    """A version of a run's plan."""

    number: int
    plan: dict[str, Any]
    sha256: str

    @property
    def is_edited(self) -> bool:
        """True when the compiled plan was edited."""
        return self.number > 1

    def read(self) -> Plan:
        """The plan, validated against its contract."""
        return Plan.from_json(self.plan)


@dataclass(frozen=True)
class Edit:
    """An edited version without its content; `based_on_sha256` is the hash of the version that was edited."""

    version: int
    plan_sha256: str
    based_on_sha256: str
    edited_by: str
    created_at: datetime


@dataclass(frozen=True)
class _CurrentPlan:
    version: int
    plan: dict[str, Any]
    plan_sha256: str | None


def current(connection: Connection, run_id: str) -> Version:
    """The newest version of a run's plan. Raises NotFound before CompileST has compiled one."""
    stored = fetch_first(connection, "plans.current", _CurrentPlan, {"run_id": run_id})
    if stored is None:
        raise NotFound("the run has no plan yet")
    return Version(stored.version, stored.plan, stored.plan_sha256 or sha256_json(stored.plan))


def hash_of(plan: Plan) -> str:
    """The sha256 of a plan's canonical JSON."""
    return sha256_json(plan.to_json())


def edited_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the newest edited version; None if the compiled plan was never edited."""
    digest: str | None = fetch_value(connection, "plans.edited_hash", {"run_id": run_id})
    return digest


def add(connection: Connection, run_id: str, plan: Plan, based_on: str, edited_by: str) -> Version:
    """Store a changed plan as the next version; `based_on` is the hash of the version that was edited."""
    content = plan.to_json()
    stored = fetch_one(
        connection,
        "plans.insert",
        Edit,
        {
            "run_id": run_id,
            "plan": Jsonb(content),
            "plan_sha256": sha256_json(content),
            "based_on_sha256": based_on,
            "edited_by": edited_by,
        },
    )
    return Version(stored.version, content, stored.plan_sha256)


def edits(connection: Connection, run_id: str) -> list[Edit]:
    """The versions that people made, in order."""
    return fetch_all(connection, "plans.edits", Edit, {"run_id": run_id})
