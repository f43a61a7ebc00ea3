"""The priority on the queue: decided work first, then the run's own priority."""

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.queueing import queue_priority

PRIORITIES = st.integers(1, 2**31 - 1)
DISTINCT = st.integers(1, 2**30 - 1)


@given(PRIORITIES, PRIORITIES, st.integers(2, 1000))
def test_what_continues_a_run_goes_before_what_starts_one(one: int, other: int, segment: int) -> None:
    assert queue_priority.of_work(one, segment) < queue_priority.of_work(other, 1)


@given(DISTINCT, DISTINCT, st.integers(1, 3))
def test_the_order_of_priorities_is_kept(one: int, other: int, segment: int) -> None:
    urgent, later = sorted((one, other))
    assert (queue_priority.of_work(urgent, segment) < queue_priority.of_work(later, segment)) is (urgent < later)


@given(PRIORITIES, st.integers(1, 1000))
def test_the_queue_accepts_every_priority(priority: int, segment: int) -> None:
    assert 1 <= queue_priority.of_work(priority, segment) <= 2**31 - 1
