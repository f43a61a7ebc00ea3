"""What comes out of a run: its changes as a patch, an archive and a bundle with a commit."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.workflow import run_result
from sisu_pipeline.workflow.run_result import RunResult

PATCH = "text/x-diff; charset=utf-8"
ZIP = "application/zip"
BUNDLE = "application/x-git-bundle"

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["results"])


@router.get(
    "/runs/{run_id}/patch",
    response_class=Response,
    responses={
        200: {
            "description": "The patch; empty when the plan changes nothing.",
            "content": {"text/x-diff": {"schema": {"type": "string"}}},
        },
        **documented(400, 404),
    },
)
def show_patch(run_id: RunReference, state: AppStateOf) -> Response:
    """The changes of the newest version of a run's plan, as a patch for `git apply`."""
    return _file(run_result.patch(_read(state, run_id)), PATCH, f"{run_id}.patch")


@router.get(
    "/runs/{run_id}/files.zip",
    response_class=Response,
    responses={
        200: {
            "description": "The archive.",
            "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented(400, 404),
    },
)
def show_files(run_id: RunReference, state: AppStateOf) -> Response:
    """The files that the newest version of a run's plan creates or changes, as a zip archive."""
    return _file(run_result.archive(_read(state, run_id)), ZIP, f"{run_id}.zip")


@router.get(
    "/runs/{run_id}/bundle",
    response_class=Response,
    responses={
        200: {
            "description": "The bundle; a repository that has the base commit can fetch the branch from it.",
            "content": {BUNDLE: {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented(400, 404, 409, 503),
    },
)
def show_bundle(run_id: RunReference, state: AppStateOf) -> Response:
    """A git bundle with the branch `sisu/<runId>`: the commit of a run's approved plan."""
    result = _read(state, run_id)
    return _file(run_result.bundle_of(state.dependencies, result), BUNDLE, f"{run_id}.bundle")


def _read(state: AppState, reference: str) -> RunResult:
    with state.pool.snapshot() as connection:
        return run_result.read(connection, reference)


def _file(content: bytes, media_type: str, name: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers, media_type=media_type)
