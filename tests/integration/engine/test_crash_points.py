"""Wherever a worker dies, before and after each commit, the intent ends as if it had not died."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline import crash_points
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.workflow import patching
from tests.builders import a_run, an_intent
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, wait_for_workers

FILES = {"a.txt": "before\n", "keep.txt": "keep\n", "gone.txt": "gone\n", "old.txt": "moved\n", "tool": "true\n"}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"},
    {"targetPath": "new/b.txt", "postimageContent": "new\n", "diffText": "+new\n"},
    {"targetPath": "gone.txt", "op": "delete"},
    {"targetPath": "gone.txt.d/new.txt", "op": "rename", "fromPath": "old.txt"},
    {"targetPath": "tool", "op": "modify", "contentBase64": "//4A", "mode": "100755"},
]
UNPATCHED = {path: (text.encode(), 0o644) for path, text in FILES.items()}
PATCHED = {
    "a.txt": (b"after\n", 0o644),
    "keep.txt": (b"keep\n", 0o644),
    "new/b.txt": (b"new\n", 0o644),
    "gone.txt.d/new.txt": (b"moved\n", 0o644),
    "tool": (b"\xff\xfe\0", 0o755),
}

STEPS = ("CompileST", "ApplyPatchST", "DecideST", "ExecuteST")


@dataclass(frozen=True)
class Story:
    """How an intent goes: what it asks for, who decides when, how it ends."""

    ends: RunStatus
    decision: Decision
    waits: bool = False
    command: str = "run"
    try_rows: int = 2
    """Tries of its two tasks; without any, nothing is executed."""


APPROVED = Story(RunStatus.SUCCEEDED, Decision.APPROVED)
PARKED = Story(RunStatus.SUCCEEDED, Decision.APPROVED, waits=True)
REJECTED = Story(RunStatus.RETRIES_EXCEEDED, Decision.REJECTED, try_rows=0)
FAILING = Story(RunStatus.RETRIES_EXCEEDED, Decision.APPROVED, command="FAIL_ME")
FLAKY = Story(RunStatus.SUCCEEDED, Decision.APPROVED, command="FLAKY_INFRA_FAIL", try_rows=6)

TABLE: list[tuple[str, Story]] = [
    *((f"{step}.{point}", APPROVED) for step in STEPS for point in ("work.after", "commit.before", "commit.after")),
    *((f"segment.{point}", APPROVED) for point in ("lock.before", "lock.after", "enter.after", "end.before")),
    *((f"events.flush.{point}", APPROVED) for point in ("before", "after")),
    *((f"patch.{point}.after", APPROVED) for point in ("remember", "remove", "write", "mark")),
    *((f"fan_out.enqueue.{point}", APPROVED) for point in ("before", "after")),
    *((f"task.{point}", APPROVED) for point in ("run.before", "run.after", "commit.before", "commit.after")),
    *((f"run.succeed.{point}", APPROVED) for point in ("before", "after")),
    *((f"gate.suspend.{point}", PARKED) for point in ("before", "after")),
    *((f"run.fail.{point}", story) for story in (REJECTED, FAILING) for point in ("before", "after")),
    *((f"patch.{point}.after", REJECTED) for point in ("remove", "restore", "rolled_back")),
    ("task.try.after", FLAKY),
]
# One dies, and whoever gives its work back dies there too.
PAIRS: list[tuple[str, str]] = [
    ("ApplyPatchST.commit.before", "recovery.give_back.before"),
    ("DecideST.commit.after", "recovery.give_back.after"),
    ("task.commit.before", "recovery.give_back.after"),
    ("run.succeed.after", "recovery.give_back.before"),
    # The first one dies in the middle of a step, the second when it does the step again.
    ("patch.write.after", "patch.mark.after"),
    ("patch.remove.after", "ApplyPatchST.commit.before"),
    ("ExecuteST.commit.before", "ExecuteST.commit.after"),
    ("fan_out.enqueue.before", "segment.lock.after"),
]
# A stack's other processes die at these (`tests/chaos/`, `tests/e2e/test_agent_plans.py`, and
# `tests/integration/test_run_pushes.py`, `tests/integration/notifications/`).
ELSEWHERE = (
    *(
        "question.",
        "round.",
        "base.",
        "api.",
        "intent_sensor.",
        "approval_sensor.",
        "launcher.",
        "gate.decide.",
        "closing.",
        "push.",
        "notification.",
    ),
)


@pytest.fixture
def armed(engine: Engine, stage: Stage, nursery: Nursery, tmp_path: Path) -> Iterator[Path]:
    """The folder of orders that two intent workers and a sandbox worker look into."""
    with (
        nursery.worker("intentQ", processes=2, SISU_CRASH_AT=str(tmp_path)),
        nursery.worker("sbxQ", SISU_CRASH_AT=str(tmp_path)),
    ):
        wait_for_workers(engine.database, "intentQ", count=2)
        wait_for_workers(engine.database, "sbxQ")
        yield tmp_path


def tell(stage: Stage, story: Story, goal: str) -> str:
    """The story of one intent, from its submission to its end in both engines; returns its workflow id."""
    inputs: dict[str, Any] = {
        "tests": ["t1", "t2"],
        "testCommand": story.command,
        "files": FILES,
        "patches": PATCHES,
    }
    with stage.dependencies.database.connect() as connection:
        workflow_id = a_run(connection, an_intent(goal, inputs=inputs)).workflow_id
    if not story.waits:
        stage.decide(workflow_id, story.decision)
    dagster_run_id = stage.request(workflow_id)
    if story.waits:
        stage.wait_for(workflow_id, RunStatus.WAITING_INPUT)
        stage.decide(workflow_id, story.decision)
        stage.sensor_tick()
    stage.wait_for(workflow_id, story.ends)
    ended = "SUCCESS" if story.ends is RunStatus.SUCCEEDED else "FAILURE"
    until(lambda: stage.dagster_status(dagster_run_id) == ended, "Dagster's run does not end")
    until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "a segment does not end")
    return workflow_id


def check(stage: Stage, story: Story, workflow_id: str) -> None:
    """The rows are what they are without any death."""
    steps = [row["step_id"] for row in stage.rows("SELECT step_id FROM app.run_steps ORDER BY started_at")]
    executed, succeeded = story.try_rows > 0, story.ends is RunStatus.SUCCEEDED
    assert steps == list(STEPS if executed else STEPS[:2])
    assert stage.value("SELECT count(*) FROM app.sbx_attempts") == story.try_rows
    receipts = stage.rows("SELECT seen_count FROM app.mock_receipts")
    assert [row["seen_count"] for row in receipts] == ([1, 1] if executed else [])
    assert files(stage, workflow_id) == (PATCHED if succeeded else UNPATCHED)
    assert stage.broken_laws() == []


def files(stage: Stage, workflow_id: str) -> dict[str, tuple[bytes, int]]:
    """What lies in the run's workspace: content and permission bits."""
    with stage.dependencies.database.connect() as connection:
        run = runs.get(connection, workflow_id)
    root = patching.workspace_of(stage.dependencies.workspaces, run.id).root
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("point", "story"),
    [
        pytest.param(
            point, story, id=f"{point}-{story.ends}", marks=() if point.endswith("after") else pytest.mark.slow
        )
        for point, story in TABLE
    ],
)
def test_a_worker_killed_at_a_crash_point_loses_nothing_and_repeats_no_side_effect(
    armed: Path, stage: Stage, point: str, story: Story
) -> None:
    (armed / point).touch()
    workflow_id = tell(stage, story, f"{story.ends} after it dies at {point}")
    assert not (armed / point).exists(), f"nobody came to {point}"
    check(stage, story, workflow_id)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_second_death_during_the_recovery_from_the_first_changes_nothing(
    armed: Path, stage: Stage, first: str, second: str
) -> None:
    (armed / first).touch()
    (armed / second).touch()
    workflow_id = tell(stage, APPROVED, f"dies at {first} and {second}")
    until(lambda: not list(armed.iterdir()), "nobody came to one of the points")
    check(stage, APPROVED, workflow_id)


def test_every_crash_point_is_tested() -> None:
    named = {point for point, _ in TABLE} | {second for _, second in PAIRS}
    assert {point for point in crash_points.POINTS if not point.startswith(ELSEWHERE)} == named


def test_an_unknown_crash_point_is_refused_when_it_is_armed(tmp_path: Path) -> None:
    strike: Callable[[str, str], None] = crash_points._strike
    with pytest.raises(LookupError, match=r"nowhere\.after is not a crash point"):
        strike(str(tmp_path), "nowhere.after")
