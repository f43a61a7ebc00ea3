"""Readings of the inbox for the streams: those that wait at the same time share one."""

from collections.abc import Sequence

from sisu_pipeline.api.http.json_response import event
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.api.state.inbox_reading import InboxReading
from sisu_pipeline.api.views import gate_views
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit


def read_together(pool: Pool, starts: StartLimit | None, streams: Sequence[None]) -> list[InboxReading]:
    """The inbox as it is now, once for all these streams."""
    with pool.snapshot() as connection:
        inbox = gate_views.inbox(connection, starts)
    data = inbox.model_dump_json(by_alias=True)
    content = inbox.model_dump_json(by_alias=True, exclude={"now"})
    reading = InboxReading(event("inbox", data), content, bool(inbox.active))
    return [reading] * len(streams)
