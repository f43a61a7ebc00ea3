"""The state machine: what moves, what is over, and the one way back."""

import itertools

import pytest

from sisu_pipeline.domain.status import TERMINAL, TRANSITIONS, IllegalTransition, RunStatus, can_move


def test_every_status_has_its_moves_and_the_moves_name_statuses() -> None:
    assert set(TRANSITIONS) == set(RunStatus)
    assert set().union(*TRANSITIONS.values()) <= set(RunStatus)


def test_a_terminal_status_moves_only_to_repairing() -> None:
    assert {status for status in RunStatus if status.is_terminal} == TERMINAL
    for status in TERMINAL:
        assert TRANSITIONS[status] <= {RunStatus.REPAIRING}


def test_success_and_cancellation_are_final() -> None:
    assert not TRANSITIONS[RunStatus.SUCCEEDED]
    assert not TRANSITIONS[RunStatus.CANCELED]


def test_nothing_becomes_queued_again() -> None:
    assert not any(can_move(status, RunStatus.QUEUED) for status in RunStatus)


@pytest.mark.parametrize("status", sorted(set(RunStatus) - TERMINAL))
def test_from_every_living_status_a_run_can_still_end(status: RunStatus) -> None:
    assert can_move(status, RunStatus.FAILED)
    assert can_move(status, RunStatus.CANCELED)


def test_success_is_reached_only_by_work() -> None:
    before = {status for status in RunStatus if can_move(status, RunStatus.SUCCEEDED)}
    assert before == {RunStatus.RUNNING, RunStatus.REPAIRING}


def test_every_status_can_be_reached_from_queued() -> None:
    reached = {RunStatus.QUEUED}
    while True:
        more = set(itertools.chain.from_iterable(TRANSITIONS[status] for status in reached)) | reached
        if more == reached:
            break
        reached = more
    assert reached == set(RunStatus)


def test_a_refused_move_says_from_where_to_where() -> None:
    refusal = IllegalTransition(RunStatus.SUCCEEDED, RunStatus.RUNNING)
    assert str(refusal) == "run is succeeded; it cannot become running"
    assert (refusal.current, refusal.wanted) == (RunStatus.SUCCEEDED, RunStatus.RUNNING)
