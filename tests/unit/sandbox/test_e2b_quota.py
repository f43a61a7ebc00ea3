"""The client's side of a plan: even spacing, shared patience."""

import asyncio

from resources.sandbox.e2b.create_quota import Quota


def test_turns_come_at_the_plans_rate() -> None:
    async def story() -> float:
        quota = Quota(concurrency=100, creates_per_second=100)
        clock = asyncio.get_running_loop().time
        await quota.turn()
        began = clock()
        # Half a second's worth may be caught up on, no more.
        await asyncio.gather(*(quota.turn() for _ in range(71)))
        return clock() - began

    assert 0.19 <= asyncio.run(story()) < 2


def test_a_refusal_holds_up_everybody_and_longer_the_second_time() -> None:
    async def story() -> list[float]:
        quota = Quota(concurrency=100, creates_per_second=1000)
        clock = asyncio.get_running_loop().time
        took = []
        for _ in range(2):
            began = clock()
            quota.refused()
            quota.refused()  # several hear of one exhaustion
            await asyncio.gather(*(quota.turn() for _ in range(3)))
            took.append(clock() - began)
        return took

    first, second = asyncio.run(story())
    assert 0.19 <= first < 0.39 <= second


def test_an_admission_ends_the_growth_of_pauses() -> None:
    async def story() -> float:
        quota = Quota(concurrency=100, creates_per_second=1000)
        clock = asyncio.get_running_loop().time
        for _ in range(3):
            began = clock()
            quota.refused()
            await quota.turn()
            quota.admitted()
        return clock() - began

    assert 0.19 <= asyncio.run(story()) < 0.39


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
