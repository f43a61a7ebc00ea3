"""The plot of task durations: every task is in one bin, and the longest bar is the fullest bin's."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.defs import timing_plot

DURATIONS = st.lists(st.integers(0, 10**6), min_size=1, max_size=200)


@given(DURATIONS)
def test_every_task_is_in_exactly_one_of_at_most_ten_bins(durations: list[int]) -> None:
    bins = timing_plot.bins(sorted(durations))
    assert sum(count for _, _, count in bins) == len(durations)
    assert len(bins) <= 10
    assert all(end == start for (_, end, _), (start, _, _) in itertools.pairwise(bins))


def test_the_plot_shows_median_p95_and_maximum() -> None:
    plot = timing_plot.markdown([*range(1, 100), 1000])
    assert plot.splitlines()[-1] == "median 51 ms, p95 96 ms, max 1000 ms"
    assert f"1 – 101      {'█' * 40} 99" in plot
    assert plot.splitlines()[1] == "ms, 100 task(s)"


def test_without_tasks_there_is_no_plot() -> None:
    assert timing_plot.markdown([]) == ""
