"""Repetition after passing failures: bounded, with growing pauses, and never after a permanent failure."""

import asyncio
from collections.abc import Callable

import pytest

from resources.retry import A_MINUTE, TEN_MINUTES, Backoff, retry_passing, retry_passing_async
from resources.write_batcher import Batcher

QUICK = Backoff(first_s=0.0, longest_s=0.0, retries=3)


def failing(times: int, failure: Exception) -> tuple[list[int], Callable[[], str]]:
    """A function that fails so often before it succeeds, and the record of its calls."""
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise failure
        return "done"

    return calls, attempt


def test_pauses_double_up_to_the_longest() -> None:
    assert list(Backoff(first_s=0.5, longest_s=3.0, retries=5).pauses()) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_pauses_that_are_spread_stay_below_their_lengths_and_differ() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0, retries=5, spread=True)
    drawn = [tuple(backoff.pauses()) for _ in range(20)]
    assert all(
        0 <= pause <= length for pauses in drawn for pause, length in zip(pauses, (0.5, 1, 2, 3, 3), strict=True)
    )
    assert len(set(drawn)) > 1
    assert backoff.total_s == 9.5


def test_the_bounds_are_those_that_the_runbook_states() -> None:
    assert (round(A_MINUTE.total_s), round(TEN_MINUTES.total_s / 60)) == (58, 10)


def test_a_passing_failure_is_repeated_until_success() -> None:
    calls, attempt = failing(3, TimeoutError())
    assert (retry_passing(attempt, QUICK), len(calls)) == ("done", 4)


def test_a_passing_failure_that_stays_is_raised_after_the_last_retry() -> None:
    calls, attempt = failing(9, TimeoutError("still"))
    with pytest.raises(TimeoutError, match="still"):
        retry_passing(attempt, QUICK)
    assert len(calls) == 1 + QUICK.retries


def test_a_permanent_failure_is_raised_at_once() -> None:
    calls, attempt = failing(9, ValueError("never"))
    with pytest.raises(ValueError, match="never"):
        retry_passing(attempt, QUICK)
    assert len(calls) == 1


def test_the_event_loop_has_the_same_rules() -> None:
    async def outcome(times: int, failure: Exception) -> tuple[str, int]:
        calls, attempt = failing(times, failure)

        async def awaited() -> str:
            return attempt()

        try:
            return await retry_passing_async(awaited, QUICK), len(calls)
        except (TimeoutError, ValueError) as raised:
            return type(raised).__name__, len(calls)

    async def outcomes() -> list[tuple[str, int]]:
        return [await outcome(3, TimeoutError()), await outcome(9, TimeoutError()), await outcome(9, ValueError())]

    assert asyncio.run(outcomes()) == [("done", 4), ("TimeoutError", 4), ("ValueError", 1)]


def stored(poison: set[int], failure: Exception, count: int) -> tuple[list[object], list[list[int]]]:
    """The results of items that are submitted at once, and the batches that were handled."""
    batches: list[list[int]] = []

    def handle(batch: list[int]) -> list[int]:
        batches.append(batch)
        if poison & set(batch):
            raise failure
        return batch

    async def submit() -> list[object]:
        batcher = Batcher(handle)
        return list(await asyncio.gather(*map(batcher.submit, range(count)), return_exceptions=True))

    return asyncio.run(submit()), batches


def test_a_permanent_failure_in_a_batch_fails_its_item_alone() -> None:
    failure = ValueError("cannot be stored")
    results, batches = stored({5}, failure, 16)
    assert results == [failure if number == 5 else number for number in range(16)]
    # The halves around the item: four failures, four batches of its neighbors, and the item itself.
    assert len(batches) == 9


def test_a_passing_failure_fails_the_whole_batch_without_a_search() -> None:
    failure = ConnectionError("busy")
    results, batches = stored({5}, failure, 16)
    assert results == [failure] * 16 and len(batches) == 1
