"""The client's side of a plan: even spacing, shared patience."""

import asyncio

from resources.sandbox.e2b.quota import Quota


def test_turns_come_at_the_plans_rate() -> None:
    async def story() -> float:
        quota = Quota(concurrency=100, creates_per_second=100)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(quota.turn() for _ in range(11)))
        return asyncio.get_running_loop().time() - began

    assert 0.1 <= asyncio.run(story()) < 1


def test_a_refusal_holds_up_everybody_and_longer_the_second_time() -> None:
    async def story() -> list[float]:
        quota = Quota(concurrency=100, creates_per_second=1000)
        clock = asyncio.get_running_loop().time
        began = clock()
        refused = asyncio.create_task(quota.refused())
        await asyncio.sleep(0)
        await quota.turn()
        first = clock() - began
        await refused
        again = clock()
        await quota.refused()
        return [first, clock() - again]

    first, second = asyncio.run(story())
    assert first >= 0.19
    assert second >= 0.39


def test_only_so_many_sandboxes_at_once() -> None:
    async def story() -> int:
        quota = Quota(concurrency=3, creates_per_second=1000)
        alive = most = 0

        async def one() -> None:
            nonlocal alive, most
            async with quota.sandbox():
                alive += 1
                most = max(most, alive)
                await asyncio.sleep(0.001)
                alive -= 1

        await asyncio.gather(*(one() for _ in range(20)))
        return most

    assert asyncio.run(story()) == 3
