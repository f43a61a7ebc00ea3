"""A clock that was set back is noticed; one that was set ahead, runs slowly or was not read for long is not."""

from collections.abc import Callable, Iterator

import pytest

from resources.clock_watch import LONGEST_STEP_S, seconds_set_back

Moment = tuple[float, float]
"""The wall clock and the steady clock."""


def set_back(moments: list[Moment]) -> tuple[float, int]:
    """By how much the clock was set back, and how often it was looked at. Raises StopIteration if it was not."""
    looks = 0
    at: Iterator[Moment] = iter(moments)
    now = next(at)

    def wait() -> None:
        nonlocal now, looks
        now, looks = next(at), looks + 1

    def clock(index: int) -> Callable[[], float]:
        return lambda: now[index]

    return seconds_set_back(wait, clock(0), clock(1)), looks


def test_a_clock_that_was_set_back_is_noticed_at_the_next_look() -> None:
    assert set_back([(50_000.0, 10.0), (50_001.0, 11.0), (39_202.0, 12.0), (39_203.0, 13.0)]) == (10_800.0, 2)


@pytest.mark.parametrize(
    "moments",
    [
        [(50_000.0, 10.0), (60_800.0, 11.0), (60_801.0, 12.0)],
        [(50_000.0, 10.0), (50_000.0 + 3600, 10.0 + 3600), (50_000.0 + 3601, 10.0 + 3601)],
        [(50_000.0 - n * (LONGEST_STEP_S - 1), 10.0) for n in range(5)],
    ],
    ids=["set ahead", "not read for an hour", "small steps"],
)
def test_other_changes_are_no_step_back(moments: list[Moment]) -> None:
    with pytest.raises(StopIteration):
        set_back(moments)
