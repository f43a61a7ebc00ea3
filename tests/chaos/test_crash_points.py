"""API, sensors and launcher die at their commits; the intent ends as if nothing had happened."""

import pytest

from sisu_pipeline import crash_points
from tests.chaos.conftest import Armed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INPUTS = {
    "tests": ["t1", "t2"],
    "files": {"a.txt": "before\n"},
    "patches": [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}],
}
# A process of a stack needs some seconds to be there again, Dagster's own the most.
PATIENCE_S = 90.0

POINTS = [
    "api.commit.before",
    "api.commit.after",
    "gate.decide.before",
    "intent_sensor.request.before",
    "intent_sensor.request.after",
    "launcher.claim.before",
    "launcher.claim.after",
    "launcher.enqueue.after",
    "approval_sensor.enqueue.before",
    "approval_sensor.enqueue.after",
]
CLOSING = [
    "closing.roll_back.before",
    "closing.roll_back.after",
    "closing.mark.before",
    "closing.close.after",
]
# A worker dies, and so does who would notice or replace it.
PAIRS = [
    ("approval_sensor.enqueue.after", "ExecuteST.commit.before"),
    ("launcher.enqueue.after", "CompileST.commit.after"),
    ("api.commit.after", "DecideST.commit.before"),
    ("launcher.claim.after", "recovery.give_back.before"),
]


@pytest.mark.parametrize("points", [*((point,) for point in POINTS), *PAIRS], ids=" ".join)
def test_an_intent_succeeds_once_whoever_dies_on_its_way(armed: Armed, points: tuple[str, ...]) -> None:
    stage = armed.stage
    first, *others = points
    if "recovery.give_back.before" in others:
        (armed.orders / "ExecuteST.commit.before").touch()
    is_first = not first.startswith(("gate.", "approval_sensor."))
    if is_first:
        (armed.orders / first).touch()
    for point in others:
        (armed.orders / point).touch()
    workflow_id = stage.submit(f"dies at {' and '.join(points)}", INPUTS, "chaos")
    stage.wait_for([workflow_id], "waiting_input", PATIENCE_S)
    if not is_first:
        (armed.orders / first).touch()
    stage.approve(workflow_id)
    stage.wait_for([workflow_id], "succeeded", PATIENCE_S)
    left = [path.name for path in armed.orders.iterdir()]
    assert left == [], f"nobody came to {left}"
    run = stage.row("labs.of_run", workflow_id=workflow_id)
    assert (run["step_rows"], run["tasks"], run["receipts"], run["repeated"]) == (4, 2, 2, 0)
    assert stage.broken_laws() == {}


@pytest.mark.parametrize("point", CLOSING)
def test_a_canceled_run_is_tied_up_whoever_dies_meanwhile(armed: Armed, point: str) -> None:
    stage = armed.stage
    workflow_id = stage.submit(f"canceled at {point}", INPUTS, "chaos")
    stage.wait_for([workflow_id], "waiting_input", PATIENCE_S)
    (armed.orders / point).touch()
    status, _ = stage.post(f"/runs/{workflow_id}/cancel", {"actor": "po"})
    assert status == 202
    stage.until(
        lambda: stage.row("labs.of_run", workflow_id=workflow_id)["is_closed"], PATIENCE_S, lambda: "the run closed"
    )
    assert list(armed.orders.iterdir()) == []
    assert stage.row("labs.of_run", workflow_id=workflow_id)["patches_left"] == 0
    assert stage.broken_laws() == {}


def test_every_point_elsewhere_is_in_a_table() -> None:
    ours = ("api.", "intent_sensor.", "approval_sensor.", "launcher.", "gate.decide.", "closing.")
    assert {point for point in crash_points.POINTS if point.startswith(ours)} == {*POINTS, *CLOSING}
