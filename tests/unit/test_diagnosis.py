"""`sisu doctor RUN`: one sentence for each reason why a run waits, and the next command to run."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.runs import Run
from sisu_pipeline.supervisor.run_diagnosis import Facts, diagnose

_LIMIT = "partition team-a may execute 50 segments at once (INTENT_QUEUE_CONCURRENCY)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RUNNING: dict[str, Any] = {"status": RunStatus.RUNNING, "dagster_run_id": "d-1"}
_WAITING: dict[str, Any] = {"status": RunStatus.WAITING_INPUT, "dagster_run_id": "d-1", "segment": 2}


def _run(**values: Any) -> Run:
    """A run that was just queued, but for these values."""
    given: dict[str, Any] = {
        **dict.fromkeys(Run.__dataclass_fields__),
        "id": "run_1",
        "workflow_id": "ih_1",
        "status": RunStatus.QUEUED,
        "queue_partition_key": "team-a",
        "app_version": "v1",
        "segment": 1,
        "created_at": _EPOCH,
    }
    return Run(**(given | values))


_FACTS = Facts(
    run=_run(),
    decision=None,
    requested_s=None,
    segment_status=None,
    is_held=False,
    dagster_status=None,
    tasks_total=None,
    tasks_finished=0,
    daemon_beats=True,
    intent_workers=2,
    sandbox_workers=1,
)


@pytest.mark.parametrize(
    ("run", "known", "says", "command"),
    [
        ({}, {"daemon_beats": False}, "no sensor daemon is running", "sisu start"),
        ({}, {}, "within a second", "sisu run watch run_1"),
        ({}, {"stopped_sensors": ("intent_sensor",)}, "intent_sensor, which would enqueue", "sisu doctor"),
        ({}, {"stopped_sensors": ("approval_sensor",)}, "within a second", "sisu run watch run_1"),
        ({}, {"requested_s": 40.0}, "requested 40 s ago", "sisu run watch run_1"),
        (_WAITING, {}, "waits for approval", "sisu run approve run_1"),
        (_WAITING, {"decision": "approved by po", "daemon_beats": False}, "approved by po", "sisu start"),
        (
            _RUNNING,
            {"segment_status": "ENQUEUED", "intent_workers": 0},
            "no intent worker of that version is running",
            "DBOS__APPVERSION=v1 sisu worker --queue intentQ",
        ),
        (_RUNNING, {"segment_status": "ENQUEUED"}, "all 2 worker(s) are busy", "sisu doctor"),
        (
            _RUNNING,
            {"segment_status": "ENQUEUED", "limit": _LIMIT},
            f"Its segment 1 waits on intentQ (version v1): {_LIMIT}.",
            "sisu doctor --settings",
        ),
        ({}, {"limit": _LIMIT}, f"It is queued for a limit: {_LIMIT}.", "sisu doctor --settings"),
        (
            _RUNNING,
            {"segment_status": "PENDING", "is_held": True, "tasks_total": 3, "limit": _LIMIT},
            f"0 of 3 tasks are finished, and others wait for a limit: {_LIMIT}.",
            "sisu doctor --settings",
        ),
        (_RUNNING, {"segment_status": "PENDING"}, "has just started, or it has died", "sisu run watch run_1"),
        (_RUNNING, {"segment_status": "PENDING", "is_held": True}, "A worker executes it", "sisu run watch run_1"),
        (
            _RUNNING,
            {"segment_status": "PENDING", "is_held": True, "tasks_total": 3, "sandbox_workers": 0},
            "0 of 3 tasks are finished, and no sandbox worker of version v1 is running",
            "DBOS__APPVERSION=v1 sisu worker --queue sbxQ",
        ),
        (
            _RUNNING,
            {"segment_status": "ERROR", "dagster_status": "STARTED"},
            "ended (ERROR) but the run is still running",
            "sisu run watch run_1",
        ),
        (
            _RUNNING,
            {"segment_status": "SUCCESS", "dagster_status": None},
            "no longer exists (deleted, or `sisu db sys-reset`)",
            "sisu run cancel run_1",
        ),
        ({"status": RunStatus.SUCCEEDED}, {}, "has succeeded", "sisu run show run_1"),
        ({"status": RunStatus.FAILED, "error": "boom"}, {}, "has ended as failed: boom", "sisu run show run_1"),
    ],
)
def test_every_state_has_a_sentence_and_a_next_command(
    run: dict[str, Any], known: dict[str, Any], says: str, command: str
) -> None:
    diagnosis = diagnose(replace(_FACTS, run=_run(**run), **known))
    assert says in diagnosis.sentence
    assert diagnosis.command == command
