"""The open gates: search and filter them, page by page."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import Caller, CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.cursors import gate_position
from sisu_pipeline.api.http.error_responses import Refusal, documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import query_parameters
from sisu_pipeline.api.http.query_parameters import GatesQuery, GatesQueryParameters
from sisu_pipeline.api.schemas.problem_schemas import Detail
from sisu_pipeline.api.schemas.review_schemas import OpenGates
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.views import review_views
from sisu_pipeline.store.access import people
from sisu_pipeline.store.review.open_gates import Asked, GateFilter

router = APIRouter(route_class=GuardedRoute, tags=["gates"])


@router.get(
    "/gates",
    response_model=OpenGates,
    responses=documented(400),
    openapi_extra=query_parameters(GatesQuery),
)
def list_open_gates(wanted: GatesQueryParameters, caller: CallerOf, state: AppStateOf) -> Response:
    """The open gates that match, the nearest deadline first, and how many there are of them."""
    after = gate_position(wanted.cursor)
    with state.pool.snapshot() as connection:
        person = _person(wanted, caller)
        standing = None if person is None else people.get(connection, person)
        which = GateFilter(
            search=wanted.search,
            tenant=wanted.tenant,
            due_within_s=wanted.due_within_s,
            asked=wanted.asked,
            person=person,
            groups=caller.groups | (standing.groups if standing else frozenset()),
        )
        return reply(review_views.open_gates(connection, which, wanted.limit, after))


def _person(wanted: GatesQuery, caller: Caller) -> str | None:
    """The person whom the filter means. Raises Refusal 400 when it needs one and there is none."""
    person = caller.name or wanted.person
    if person is None and wanted.asked in (Asked.ME, Asked.TEAM):
        message = "name the person: no token is required here, so the server does not know who asks"
        raise Refusal(400, "invalid_query", message, [Detail(pointer="/person", message=message)])
    return person
