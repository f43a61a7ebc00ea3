"""A loop that fails again and again leaves one line per minute, which names the cause."""

import pytest

from resources.repeated_errors import PERIOD_S, RepeatedErrors


def test_one_line_per_minute_names_the_cause_and_counts_the_rest() -> None:
    now, lines = 0.0, list[str]()
    errors = RepeatedErrors(lines.append, "reading the queue", lambda: now)
    for attempt in range(121):
        now = attempt * PERIOD_S / 60
        with errors.tolerated(ValueError):
            raise ValueError("no such column")
    assert lines == [
        "reading the queue failed and is tried again: no such column",
        "reading the queue failed and is tried again: no such column (59 more before)",
        "reading the queue failed and is tried again: no such column (59 more before)",
    ]


def test_success_and_other_errors_are_left_alone() -> None:
    lines = list[str]()
    errors = RepeatedErrors(lines.append, "it")
    with errors.tolerated(ValueError):
        pass
    with pytest.raises(KeyError), errors.tolerated(ValueError):
        raise KeyError("x")
    assert lines == []
