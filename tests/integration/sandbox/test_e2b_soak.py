"""A fan-out on a server that fails: every task ends, nothing is lost to the quota, nothing is left.

The long version has the issue's numbers: 1,000 tasks, 20 at once, 5 creates per second, 3 % of sandboxes die
silently, 1 % of create replies are lost. It waits for its quota, more than three minutes.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.sandbox_port import TaskRef
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.queueing import task_runner
from sisu_pipeline.queueing.task_runner import TaskStore, run_task
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store.outputs.run_setups import UsedSetup
from sisu_pipeline.store.tasks import Outcome, Try
from tests.integration.sandbox.conftest import e2b_settings
from tests.support.e2b.client import E2bServer
from tests.unit.sandbox.requests import a_request, ignore

CREATES_PER_SECOND = 5.0
CONCURRENT = 20


class Kept:
    """What a worker would have written: one outcome per task, one row per failed try."""

    def __init__(self) -> None:
        self.outcomes: dict[str, SandboxResult] = {}
        self.tries: list[Try] = []

    def store(self) -> TaskStore:
        async def count(run_id: str, key: str) -> int:
            return sum(attempt.task_key == key for attempt in self.tries)

        async def store_try(attempt: Try) -> None:
            self.tries.append(attempt)

        async def store_outcome(outcome: Outcome) -> None:
            assert outcome.task.key not in self.outcomes
            self.outcomes[outcome.task.key] = outcome.result

        async def record_setup(run_id: str, used: UsedSetup) -> None:
            raise NotImplementedError

        return TaskStore(count, store_try, store_outcome, record_setup)


@dataclass(frozen=True)
class Soaked:
    """What a soak left behind."""

    kept: Kept
    rate: float
    state: dict[str, Any]
    seconds: float
    refusals: int
    swept: int


def soak(server: E2bServer, ledger: Path, count: int, rate: float = CREATES_PER_SECOND) -> Soaked:
    """Run that many tasks with a little more appetite than the account allows."""
    server.set(
        max_concurrent=CONCURRENT,
        creates_per_second=rate,
        hang_every=33,
        vanish_after_s=0.05,
        lose_create_reply_every=100,
    )
    kept = Kept()
    keys = [f"{number:064x}" for number in range(count)]

    async def still_wanted(asked: Any) -> set[TaskRef]:
        return {ref for ref in asked if ref[1] not in kept.outcomes}

    async def story() -> tuple[int, int]:
        sandbox = E2bSandbox(
            e2b_settings(server, concurrency=CONCURRENT + 5, creates_per_second=1.25 * rate), wanted=still_wanted
        )
        store = kept.store()
        await asyncio.gather(
            *(
                run_task(
                    sandbox,
                    store,
                    "run_1",
                    Task(position, a_request(f"echo {key} >> {ledger}; sleep 0.1", task_key=key), "e2b"),
                    ignore,
                )
                for position, key in enumerate(keys)
            )
        )
        swept = await sandbox.sweeper.sweep()
        await sandbox.close()
        return sandbox.quota.refusals, swept

    began = time.monotonic()
    refusals, swept = asyncio.run(story())
    return Soaked(kept, rate, server.state(), time.monotonic() - began, refusals, swept)


def check(soaked: Soaked, ledger: Path, count: int) -> None:
    outcomes, tries, state = soaked.kept.outcomes, soaked.kept.tries, soaked.state
    assert len(outcomes) == count
    assert {result.err_code for result in outcomes.values()} == {ErrorCode.NONE}
    # Refused by the quota often, failed by it never: what failed was a sandbox that died.
    assert soaked.refusals > 0
    assert [attempt.err_code for attempt in tries] == [ErrorCode.BOOT_FAIL] * len(tries)
    broken = Counter(state["broken"])
    assert Counter(attempt.task_key for attempt in tries) <= broken  # some died after their task had ended
    assert state["counts"]["create_replies_lost"] >= count // 100
    assert state["alive"] == 0
    executed = Counter(ledger.read_text().split())
    assert {key: executed[key] for key in outcomes if key not in broken} == {
        key: 1 for key in outcomes if key not in broken
    }
    assert all(executed[key] <= 1 + broken[key] for key in broken)


def quota_used(soaked: Soaked, count: int) -> float:
    """Creations over what the account allows, while tasks waited: from the first to the count-th creation."""
    times = soaked.state["create_times"][:count]
    return float((count - 1) / soaked.rate / (times[-1] - times[0]))


@pytest.mark.slow
def test_a_small_fan_out_on_a_failing_server_ends_well(
    e2b_server: E2bServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_runner, "FIRST_BACKOFF_S", 0.1)
    check(soak(e2b_server, tmp_path / "ledger", 100, rate=25.0), tmp_path / "ledger", 100)


@pytest.mark.slow
def test_a_thousand_tasks_on_a_failing_server_use_the_whole_quota(e2b_server: E2bServer, tmp_path: Path) -> None:
    soaked = soak(e2b_server, tmp_path / "ledger", 1000)
    check(soaked, tmp_path / "ledger", 1000)
    used = quota_used(soaked, 1000)
    print(f"quota used {used:.3f}, {soaked.seconds:.1f} s, {soaked.refusals} refusals, {soaked.state['counts']}")
    assert used >= 0.95
