"""The person behind a Dagster run: set by the web server that authenticated them, never by a client.

Every run is stored through `IdentifiedRunStorage.add_run`, whichever process creates it. It drops the tag from
what a client, a sensor or a backfill sends and adds it for the person that the web server has authenticated.
"""

from collections.abc import Mapping
from contextvars import ContextVar

from dagster import DagsterRun
from dagster_postgres.run_storage import PostgresRunStorage

from sisu_pipeline.defs.run_tags import PERSON_TAG

authenticated_person: ContextVar[str | None] = ContextVar("authenticated_person", default=None)
"""Who sends the request that this thread or task serves; None outside a request and where no token is required."""


class IdentifiedRunStorage(PostgresRunStorage):
    """The Postgres run storage, which alone decides on the tag of the person."""

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store the run with the authenticated person's tag, or without the tag."""
        return super().add_run(_identified(dagster_run))

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Add tags to a stored run, the person's excepted."""
        super().add_run_tags(run_id, {name: value for name, value in new_tags.items() if name != PERSON_TAG})


def _identified(dagster_run: DagsterRun) -> DagsterRun:
    tags = {name: value for name, value in dagster_run.tags.items() if name != PERSON_TAG}
    person = authenticated_person.get()
    if person is not None:
        tags[PERSON_TAG] = person
    return dagster_run.with_tags(tags) if tags != dagster_run.tags else dagster_run
