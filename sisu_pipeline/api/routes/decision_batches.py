"""Decisions about plans: the usual ones are recorded together, each other one is weighed by itself."""

import logging
from collections.abc import Sequence

import psycopg
from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.auth.authentication import Caller
from sisu_pipeline.api.http.error_responses import is_unreachable
from sisu_pipeline.api.state.app_state import Rooms
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.contracts.gate import PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.store import gates
from sisu_pipeline.store.gates import Decided, Word
from sisu_pipeline.workflow import commands

logger = logging.getLogger(__name__)


async def decide(
    rooms: Rooms, run_id: str, request: PlanApprovalRequest | PlanRejectionRequest, caller: Caller
) -> Decided:
    """The usual decision commits with those that came at the same time, in one statement; any other is weighed in
    a transaction of its own. Raises what `commands.decide` raises.
    """
    word = commands.plain_word(run_id, request, caller.name)
    decided = None if word is None else await rooms.decisions.submit(word)
    if word is not None and decided is not None:
        gates.agree(decided, word.decision)
        return decided
    return await run_in_threadpool(_weigh, rooms.pool, run_id, request, caller)


def record_together(pool: Pool, words: Sequence[Word]) -> list[Decided | None]:
    """What became of each word; None for one that has to be weighed. Raises when Postgres cannot be reached."""
    try:
        # Said twice, it is no second decision: then it was made, and is found.
        decided = pool.statement(lambda connection: gates.decide_plainly(connection, words))
    except psycopg.Error as failure:
        if is_unreachable(failure):
            raise
        # What the database refuses of one is not to be the others' failure: weighed, each fails by itself.
        # What it says may quote what people wrote; its code says enough.
        logger.warning("%d decisions were refused together: SQLSTATE %s", len(words), failure.sqlstate)
        decided = {}
    return [decided.get(word) for word in words]


def _weigh(pool: Pool, run_id: str, request: PlanApprovalRequest | PlanRejectionRequest, caller: Caller) -> Decided:
    with pool.connect() as connection:
        return commands.decide(connection, run_id, request, caller.name)
