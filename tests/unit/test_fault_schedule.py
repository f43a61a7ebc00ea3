"""The fault schedule of chaos: what a seed draws, and what a machine leaves out."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sisu_pipeline.proof.chaos import chaos_report, fault_schedule
from sisu_pipeline.proof.chaos.chaos_lab import ChaosRun
from sisu_pipeline.proof.chaos.fault_injector import FaultInjector
from sisu_pipeline.proof.chaos.fault_schedule import CLOCK_STEPS, OUTAGES, FaultKind, PlannedFault
from sisu_pipeline.proof.chaos.fault_tools import FaultTools
from sisu_pipeline.proof.harness.running_stack import RunningStack

HOUR_S = 3600.0


@pytest.mark.parametrize("live", [False, True])
def test_no_fault_is_due_during_an_outage(live: bool) -> None:
    drawn = fault_schedule.draw(1, HOUR_S, live=live)
    assert {fault.kind for fault in drawn} >= OUTAGES
    for fault, later in pairwise(drawn):
        assert later.at_s > fault.at_s + (fault.seconds if fault.kind in OUTAGES else 0.0)


def test_postgres_is_stopped_for_half_a_minute_at_most_and_clocks_are_wrong_for_seconds() -> None:
    drawn = fault_schedule.draw(1, HOUR_S)
    stopped = [fault.seconds for fault in drawn if fault.kind is FaultKind.FREEZE_POSTGRES]
    wrong = [fault.seconds for fault in drawn if fault.kind in CLOCK_STEPS]
    assert stopped and 20 < max(stopped) <= 30
    assert wrong and min(wrong) >= 5
    assert {fault.ranks[0] % 2 for fault in drawn if fault.kind in CLOCK_STEPS} == {0, 1}, "ahead and back"


def test_a_fault_without_its_tool_is_left_out_and_the_report_says_so() -> None:
    left_out = {FaultKind.FILL_DISK: "mounting a file system failed: permission denied"}
    injector = FaultInjector(
        cast(RunningStack, SimpleNamespace()), lambda _: None, tools=FaultTools(left_out=left_out)
    )
    injector.run([PlannedFault(0.0, FaultKind.FILL_DISK, (1,), 5.0)], 0.0)
    assert injector.injected == []
    chaos = ChaosRun(1, 60.0, Path(), [], [])
    assert "left out" not in chaos_report.markdown(chaos.report())
    chaos.left_out = {str(kind): reason for kind, reason in left_out.items()}
    text = chaos_report.markdown(chaos.report())
    assert "| left out: disk full | mounting a file system failed: permission denied |" in text


def test_only_kills_are_drawn_when_a_process_is_named() -> None:
    drawn = fault_schedule.draw(1, HOUR_S, kill=["postgres"])
    assert {fault.kind for fault in drawn} == {FaultKind.KILL_BACKEND, FaultKind.RESTART_POSTGRES}
