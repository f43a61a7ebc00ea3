"""Runs with fixed inputs, as the API and Dagster show them: byte for byte what `tests/golden/*.json` says.

After a change that is meant: `REFRESH_GOLDEN=1 mise run test:golden:refresh`, then read the difference.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sisu_pipeline.domain.status import RunStatus
from tests.golden.normal import normal
from tests.integration.api.conftest import serving
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, Worker, wait_for_workers

FOLDER = Path(__file__).parent
REFRESH = os.environ.get("REFRESH_GOLDEN") == "1"
REQUEST = {
    "recipeName": "sandbox-default",
    "queuePartitionKey": "tenant-1",
    "tenantId": "tenant-1",
    "traceId": "0af7651916cd43dd8448eb211c80319c",
}
INPUTS = {
    "files": {"greeting.txt": "hello\n", "kept.txt": "as it was\n"},
    "patches": [
        {"targetPath": "greeting.txt", "postimageContent": "hello, world\n", "diffText": "-hello\n+hello, world\n"},
        {"targetPath": "new/file.txt", "postimageContent": "new\n", "diffText": "+new\n"},
    ],
    "tests": ["first", "second"],
}


@dataclass(frozen=True)
class Story:
    """A run: what it is asked for, what a person says, how it ends in our rows and in Dagster's."""

    name: str
    inputs: dict[str, Any]
    verb: str
    decision: dict[str, str]
    ends: RunStatus
    dagster: str


APPROVED = {"approvedBy": "po", "notes": "go on"}
STORIES = [
    Story("succeeded", INPUTS, "approve-plan", APPROVED, RunStatus.SUCCEEDED, "SUCCESS"),
    Story(
        "failed",
        INPUTS | {"testCommand": "FAIL_ME"},
        "approve-plan",
        APPROVED,
        RunStatus.RETRIES_EXCEEDED,
        "FAILURE",
    ),
    Story(
        "rejected",
        INPUTS | {"ticket": "no"},
        "reject-plan",
        {"rejectedBy": "po", "reason": "too bold"},
        RunStatus.RETRIES_EXCEEDED,
        "FAILURE",
    ),
]


@pytest.fixture
def api(stage: Stage, nursery: Nursery, sandbox_worker: Worker) -> Iterator[httpx.Client]:
    """A client of an API over the engine, whose workers are there."""
    with (
        nursery.worker("intentQ"),
        serving(stage.dependencies) as live,
        httpx.Client(base_url=live.url, timeout=30) as client,
    ):
        wait_for_workers(stage.dependencies.database, "intentQ")
        yield client


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_run_is_shown_byte_for_byte_as_before(stage: Stage, api: httpx.Client, story: Story) -> None:
    shown = json.dumps(normal(tell(stage, api, story)), indent=2, ensure_ascii=False) + "\n"
    file = FOLDER / f"{story.name}.json"
    if REFRESH:
        file.write_text(shown)
    assert shown == file.read_text(), "if that is meant: REFRESH_GOLDEN=1 mise run test:golden:refresh"
    assert stage.broken_laws() == []


def test_every_golden_file_has_its_story() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.json")) == sorted(story.name for story in STORIES)


def tell(stage: Stage, api: httpx.Client, story: Story) -> dict[str, Any]:
    """The run from submission to its end, and everything that is then shown of it."""
    intent = {"goal": f"golden: {story.name}", "inputs": story.inputs, "constraints": {}, "connectors": []}
    workflow_id = _post(api, "/intents", intent)["intentId"]
    _post(api, f"/intents/{workflow_id}/run", REQUEST)
    dagster_run_id = stage.request(workflow_id)
    stage.wait_for(workflow_id, RunStatus.WAITING_INPUT)
    until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "the first segment ends")
    waiting = _get(api, f"/runs/{workflow_id}")
    _post(api, f"/runs/{workflow_id}/{story.verb}", story.decision)
    stage.sensor_tick()
    stage.wait_for(workflow_id, story.ends)
    until(lambda: stage.dagster_status(dagster_run_id) == story.dagster, "Dagster's run ends")
    until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "the last segment ends")
    return {
        "at the gate": waiting,
        "plan": _get(api, f"/runs/{workflow_id}/plan"),
        "at the end": _get(api, f"/runs/{workflow_id}"),
        "dagster events": dagster_events(stage, dagster_run_id),
    }


def dagster_events(stage: Stage, dagster_run_id: str) -> dict[str, list[str]]:
    """The types of the run's events in their order, of each step and of the run itself: steps run side by side."""
    events: dict[str, list[str]] = {}
    for record in stage.instance.all_logs(dagster_run_id):
        if record.dagster_event is not None:
            events.setdefault(record.step_key or "run", []).append(record.dagster_event.event_type_value)
    return dict(sorted(events.items()))


def _post(api: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = api.post(path, json=body).raise_for_status().json()
    return answer


def _get(api: httpx.Client, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = api.get(path).raise_for_status().json()
    return answer
