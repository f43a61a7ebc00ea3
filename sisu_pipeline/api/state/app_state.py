"""What the routes share: opened with the process, reached through the request."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from resources.write_batcher import Batcher
from sisu_pipeline.api.state.change_feed import RunFeed
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.api.state.inbox_reading import InboxReading
from sisu_pipeline.api.state.readiness import Readiness
from sisu_pipeline.single_sign_on.browser_flow import BrowserFlow
from sisu_pipeline.single_sign_on.sign_on import SignOn
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.workflow.dependencies import Dependencies


@dataclass(frozen=True)
class AppState:
    """The API's own ports: pooled connections, decisions that come together, the feed of changes, the blobs."""

    pool: Pool
    decisions: Batcher[PlanDecision, RecordedDecision | None]
    inbox: Batcher[None, InboxReading]
    feed: RunFeed
    readiness: Readiness
    blobs: BlobStore
    dependencies: Dependencies
    app_version: str
    heartbeat_s: float
    dagster_url: str
    session_cookie: str
    sign_on: SignOn
    browser_flow: BrowserFlow | None


async def _state(request: Request) -> AppState:
    state: AppState = request.app.state.shared
    return state


AppStateOf = Annotated[AppState, Depends(_state)]
