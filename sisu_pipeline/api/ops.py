"""For operators."""

from fastapi import APIRouter, Response

from sisu_pipeline.api import views
from sisu_pipeline.api.contracts import Health, QueueDepth
from sisu_pipeline.api.door import Door
from sisu_pipeline.api.errors import documented
from sisu_pipeline.api.query import PlainRequest
from sisu_pipeline.api.reply import reply
from sisu_pipeline.api.rooms import RoomsOf

router = APIRouter(route_class=Door, dependencies=[PlainRequest], tags=["ops"])


@router.get("/healthz", response_model=Health, responses=documented(400))
async def healthz() -> Response:
    """The process answers, even while every thread waits for the database."""
    return reply(Health())


@router.get("/ops/queue-depth", response_model=QueueDepth, responses=documented(400))
def queue_depth(rooms: RoomsOf) -> Response:
    """What waits on the queues, by state of the run, and by application version."""
    with rooms.pool.snapshot() as connection:
        return reply(views.queue_depth(connection))
