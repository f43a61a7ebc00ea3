"""Decisions about plans: simple ones that arrive together share a statement, any other gets its own transaction."""

import logging
from collections.abc import Sequence

import psycopg
from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.auth.authentication import Caller
from sisu_pipeline.api.http.error_responses import is_unreachable
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.contracts.gate import Channel, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.store import gates
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.workflow import commands, run_base

logger = logging.getLogger(__name__)


async def decide(
    state: AppState,
    run_reference: str,
    request: PlanApprovalRequest | PlanRejectionRequest,
    caller: Caller,
    channel: Channel,
) -> RecordedDecision:
    """Record a decision, together with others that arrive at the same time if `gates.decide_batch` can.

    Raises what `commands.decide` raises.
    """
    decision = commands.plan_decision(run_reference, request, caller.name, channel)
    recorded = None if decision.edited_plan is not None else await state.decisions.submit(decision)
    if recorded is None:
        return await run_in_threadpool(_decide_alone, state, decision)
    gates.check_agrees(recorded, decision)
    return recorded


def record_together(pool: Pool, decisions: Sequence[PlanDecision]) -> list[RecordedDecision | None]:
    """The records of decisions; None for one that needs a transaction of its own.

    Raises psycopg.Error when Postgres cannot be reached.
    """
    try:
        # Safe to repeat: if the first attempt committed, the retry returns its decisions.
        return pool.statement(lambda connection: gates.decide_batch(connection, decisions))
    except psycopg.Error as failure:
        if is_unreachable(failure):
            raise
        # One bad row must not fail the others: each decision is retried in a transaction of its own. The message
        # of the database may quote what people wrote, so only its code is logged.
        logger.warning("a batch of %d decisions was refused: SQLSTATE %s", len(decisions), failure.sqlstate)
        return [None] * len(decisions)


def _decide_alone(state: AppState, decision: PlanDecision) -> RecordedDecision:
    complete = run_base.with_base_files(state.dependencies, decision)
    with state.pool.connect() as connection:
        return gates.decide(connection, complete)
