"""The storage of Dagster runs, and the person behind one: set by the web server, never by a client.

Every run is stored through `IdentifiedRunStorage.add_run`, whichever process creates it. It drops the tag from
what a client, a sensor or a backfill sends and adds it for the person that the web server has authenticated.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from dagster import DagsterRun
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy.engine import Connection

from sisu_pipeline.defs.run_tags import PERSON_TAG

authenticated_person: ContextVar[str | None] = ContextVar("authenticated_person", default=None)
"""Who sends the request that this thread or task serves; None outside a request and where no token is required."""


_transaction: ContextVar[Connection | None] = ContextVar("transaction", default=None)
"""The connection of the transaction that this thread or task has begun in the run storage."""


class IdentifiedRunStorage(PostgresRunStorage):
    """The Postgres run storage, which alone decides on the tag of the person.

    It stores a run with its tags in one transaction. Dagster stores them in two: a process that dies in between
    leaves a run that no partition, sensor or recovery finds.
    """

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store the run with the authenticated person's tag, or without the tag."""
        with self._in_one_transaction():
            return super().add_run(_identified(dagster_run))

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Add tags to a stored run, the person's excepted."""
        tags = {name: value for name, value in new_tags.items() if name != PERSON_TAG}
        with self._in_one_transaction():
            super().add_run_tags(run_id, tags)

    def connect(self) -> AbstractContextManager[Connection]:
        """A connection that commits each statement, or that of the transaction that has been begun."""
        connection = _transaction.get()
        return super().connect() if connection is None else nullcontext(connection)

    @contextmanager
    def _in_one_transaction(self) -> Iterator[None]:
        with super().connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                token = _transaction.set(connection)
                try:
                    yield
                finally:
                    _transaction.reset(token)


def _identified(dagster_run: DagsterRun) -> DagsterRun:
    tags = {name: value for name, value in dagster_run.tags.items() if name != PERSON_TAG}
    person = authenticated_person.get()
    if person is not None:
        tags[PERSON_TAG] = person
    return dagster_run.with_tags(tags) if tags != dagster_run.tags else dagster_run
