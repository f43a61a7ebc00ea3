"""Submit an intent, start its run."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.path_parameters import IntentId
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import RawBody, parse
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.schemas.intent_schema import intent_schema
from sisu_pipeline.api.schemas.start_schemas import IntentSubmitted, KeptField, RunStarted, SubmissionSchemas
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.workflow import run_base, submission

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["intents"])


@router.post(
    "/intents",
    status_code=201,
    response_model=IntentSubmitted,
    responses={
        200: {"model": IntentSubmitted, "description": "The same intent is already stored."},
        **documented(400, 413),
    },
    openapi_extra=request_body(Intent, required=True),
)
def submit_intent(raw: RawBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Store an intent under the id derived from its content; 200 if it is already stored."""
    intent = parse(raw, Intent)
    run_base.check_allowed(state.dependencies, intent)
    with state.pool.connect() as connection:
        stored = submission.submit_intent(connection, intent, caller.name, channel)
    body = IntentSubmitted(intent_id=stored.id, is_replay=stored.is_replay)
    return reply(body, 200 if stored.is_replay else 201)


@router.get("/intents/schema", response_model=SubmissionSchemas, responses=documented(400))
def show_intent_schema() -> Response:
    """The JSON Schemas of an intent and of the request that starts its run, from which forms can be made."""
    return reply(SubmissionSchemas(intent=intent_schema(), run=RunRequest.model_json_schema()))


@router.post(
    "/intents/{intent_id}/run",
    status_code=202,
    response_model=RunStarted,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(RunRequest),
)
def start_run(
    intent_id: IntentId, raw: RawBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Start the run of an intent. A repeated request is a replay; another identity, or a canceled run, is a 409."""
    request = parse(raw, RunRequest)
    with state.pool.connect() as connection:
        started = submission.start_run(connection, intent_id, request, state.app_version, caller.name, channel)
    kept = [KeptField(field=each.field, requested=each.requested, kept=each.kept) for each in started.kept]
    body = RunStarted(
        run_id=started.run_id, workflow_id=started.intent_id, is_replay=started.is_replay, kept=kept or None
    )
    return reply(body, 202)
