"""Rounds of changes without an agent: the test settles the questions that requests record."""

from dataclasses import replace
from typing import Any

import httpx

from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.store import change_requests, intents, plan_questions, runs
from sisu_pipeline.store.plan_questions import PlanQuestion, Session
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_rounds
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES
from tests.integration.oracle.world import ANSWERED, FAILED

COMMENT = "Keep the old line too"
REVISED = "before\nafter\n"
FAILURE = FAILED


def an_answer(text: str = REVISED, **plan: Any) -> Session:
    """A session whose plan writes this text to a.txt."""
    patches = [
        {
            "op": "modify",
            "oldSha256": sha256_hex(FILES["a.txt"]),
            "postimageContent": text,
            "targetPath": "a.txt",
        }
    ]
    structured = {
        "design": ["keep the line"],
        "files": ["a.txt"],
        "risks": [],
        "tests": ["t1"],
        "testCommand": "true",
        "patchPlan": patches,
        **plan,
    }
    return replace(ANSWERED, structured=structured, changes=structured["patchPlan"])


def request(client: httpx.Client, life: Waiting, person: str = "ann", **body: Any) -> httpx.Response:
    """Request changes to a run's plan."""
    asked = {"requestedBy": person, "comment": COMMENT, **body}
    return client.post(f"/runs/{life.run_id}/request-changes", json=asked)


def question(dependencies: Dependencies, life: Waiting) -> PlanQuestion:
    """The newest question of a round."""
    with dependencies.database.connect() as connection:
        last = change_requests.of_run(connection, life.run_id)[-1].round
        found = plan_questions.of_round(connection, life.run_id, last)
    assert found is not None
    return found


def settle(dependencies: Dependencies, life: Waiting, session: Session) -> bool:
    """Settle the question of the newest round with this session, as a planner worker does."""
    asked = question(dependencies, life)
    with dependencies.database.connect() as connection:
        run = runs.get(connection, life.run_id)
        intent = intents.get(connection, run.intent_id)
        tries = plan_questions.count_tries(connection, asked.op_key)
    checked, plan = plan_rounds.checked(dependencies, run, intent, session)
    with dependencies.database.connect() as connection:
        return plan_rounds.settle(dependencies, connection, asked, tries + 1, checked, plan, is_final=True)
