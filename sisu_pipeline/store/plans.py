"""Plans: the compiled one is version 1, and what people make of it follows; the newest is the one that counts."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.errors import NotFound
from sql import query


@dataclass(frozen=True)
class Version:
    """A version of a run's plan."""

    number: int
    plan: dict[str, Any]
    sha256: str

    @property
    def is_edited(self) -> bool:
        """True when a person changed the compiled plan."""
        return self.number > 1

    def read(self) -> Plan:
        """The plan by its contract."""
        return Plan.from_json(self.plan)


def current(connection: Connection, run_id: str) -> Version:
    """The plan that counts. Raises NotFound before CompileST has made one."""
    row = connection.execute(query("plans.current"), {"run_id": run_id}).fetchone()
    if row is None:
        raise NotFound("the run has no plan yet")
    return Version(row["version"], row["plan"], row["plan_sha256"] or sha256_json(row["plan"]))


def hash_of(plan: Plan) -> str:
    """The sha256 of a plan's canonical JSON."""
    return sha256_json(plan.to_json())


def edited_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the newest changed plan; None when nobody changed it."""
    row = connection.execute(query("plans.latest"), {"run_id": run_id}).fetchone()
    return None if row is None else str(row["plan_sha256"])


def add(connection: Connection, run_id: str, plan: Plan, based_on: str, edited_by: str) -> Version:
    """Keep a changed plan as the next version, beside the hash of the one it was made of."""
    content = plan.to_json()
    row = connection.execute(
        query("plans.insert"),
        {
            "run_id": run_id,
            "plan": Jsonb(content),
            "plan_sha256": sha256_json(content),
            "based_on_sha256": based_on,
            "edited_by": edited_by,
        },
    ).fetchone()
    assert row is not None
    return Version(row["version"], content, row["plan_sha256"])


def versions(connection: Connection, run_id: str) -> list[Row]:
    """The changed versions without their content, the first first."""
    return connection.execute(query("plans.versions"), {"run_id": run_id}).fetchall()
