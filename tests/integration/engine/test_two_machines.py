"""Two worker groups with homes of their own, in network namespaces where possible, share one Postgres over TCP."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.domain.status import RunStatus
from tests.integration.engine.conftest import deployed, home_variables
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.network import machines, on_tcp, tcp_postgres
from tests.integration.engine.workers import Nursery, Worker, wait_for_workers

INTENTS = 6
TASKS = 3


@pytest.mark.slow
def test_two_machines_share_the_intents_of_one_database(
    tmp_path: Path, nursery: Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        places = stack.enter_context(machines(2))
        with capsys.disabled():
            kind = "network namespaces" if places[0].namespace else "plain processes (no network namespaces here)"
            print(f"\ntwo machines as {kind}")
        port = stack.enter_context(tcp_postgres([place.postgres for place in places if place.namespace]))
        # Few tasks per worker at once, so that one alone cannot take them all.
        shared = {"SISU_BLOB_STORE": str(tmp_path / "blobs"), "SBX_QUEUE_WORKER_CONCURRENCY": "2"}
        here = on_tcp("127.0.0.1", port)
        engine = stack.enter_context(deployed(here, **shared))
        stage = Stage(engine.dependencies, engine.instance)
        groups: list[list[Worker]] = []
        for number, place in enumerate(places):
            variables: dict[str, Any] = shared | home_variables(
                tmp_path / f"home{number}", on_tcp(place.postgres, port)
            )
            groups.append(
                [
                    stack.enter_context(nursery.worker(queue, namespace=place.namespace, **variables))
                    for queue in ("intentQ", "sbxQ")
                ]
            )
        for queue in ("intentQ", "sbxQ"):
            wait_for_workers(engine.database, queue, count=2)

        intents = [stage.intent(f"intent {number}", tests=TASKS, command="sleep 0.2") for number in range(INTENTS)]
        for workflow_id in intents:
            stage.request(workflow_id)
        for workflow_id in intents:
            stage.wait_for(workflow_id, RunStatus.WAITING_INPUT)
            stage.decide(workflow_id)
        until(lambda: _resumed(stage))
        for workflow_id in intents:
            stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
        until(lambda: set(stage.queue().values()) == set(stage.queue("sbxQ").values()) == {"SUCCESS"})

        done = {
            queue: {int(row["executor_id"].split("-")[-2]) for row in _executors(stage, queue)}
            for queue in ("intentQ", "sbxQ")
        }
        for intent_workers, sandbox_workers in groups:
            assert done["intentQ"] & set(intent_workers.processes), "a machine executed no segment"
            assert done["sbxQ"] & set(sandbox_workers.processes), "a machine executed no task"
        assert stage.value("SELECT count(*) FROM app.sbx_runs WHERE err_code = 'NONE'") == INTENTS * TASKS
        assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
        assert stage.broken_laws() == []


def _resumed(stage: Stage) -> bool:
    """Whether every decision has been seen; sees to it as the sensor does."""
    stage.sensor_tick()
    return not stage.value("SELECT count(*) FROM app.runs WHERE status = 'waiting_input' AND requested_at IS NULL")


def _executors(stage: Stage, queue: str) -> list[dict[str, str]]:
    return stage.rows("SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE queue_name = %s", queue)
