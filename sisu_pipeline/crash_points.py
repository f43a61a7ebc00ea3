"""Named points where a process can be made to kill itself with SIGKILL, for tests and labs only.

`SISU_CRASH_AT` holds names separated by commas (`ExecuteST.commit.after`): the process dies whenever it reaches
one. Or it holds an absolute folder: the process dies at each point that has a file there, and removes the file
first, so that it dies there once. A file that contains `SIGSTOP` freezes the process instead. Without the setting,
a point costs one check of a flag.
"""

import os
import signal
from pathlib import Path

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.settings import settings

POINTS = (
    # API: a request's transaction, before and after its commit.
    "api.commit.before",
    "api.commit.after",
    # Sensors.
    "intent_sensor.request.before",
    "intent_sensor.request.after",
    "approval_sensor.enqueue.before",
    "approval_sensor.enqueue.after",
    # Launcher.
    "launcher.claim.before",
    "launcher.claim.after",
    "launcher.enqueue.after",
    # Worker: a segment's lock, its entry, its end (before the queue records it).
    "segment.lock.before",
    "segment.lock.after",
    "segment.enter.after",
    "segment.end.before",
    "events.flush.before",
    "events.flush.after",
    # Steps: the work is done, the row is written, the row is committed; by step.
    *(f"{step}.{point}" for step in StepId for point in ("work.after", "commit.before", "commit.after")),
    # The commit of a run: known, stored.
    "base.resolve.after",
    "base.store.after",
    # Patches: remembered in a row, written to the file, marked in the row; taken back.
    # A rename removes the file at its old path first.
    "patch.remember.after",
    "patch.remove.after",
    "patch.write.after",
    "patch.mark.after",
    "patch.restore.after",
    "patch.rolled_back.after",
    # Gate: the transaction that suspends, the one that decides.
    "gate.suspend.before",
    "gate.suspend.after",
    "gate.decide.before",
    # Questions to a coding agent: recorded, on the queue; a session and its row.
    "question.ask.before",
    "question.ask.after",
    "question.enqueue.after",
    "question.session.before",
    "question.session.after",
    "question.commit.before",
    "question.commit.after",
    # A question of requested changes, which the sensor enqueues.
    "round.enqueue.before",
    "round.enqueue.after",
    # Fan-out and tasks.
    "fan_out.enqueue.before",
    "fan_out.enqueue.after",
    "task.run.before",
    "task.run.after",
    "task.try.after",
    "task.commit.before",
    "task.commit.after",
    # The end of a run.
    "run.succeed.before",
    "run.succeed.after",
    "run.fail.before",
    "run.fail.after",
    # The push of a succeeded run's branch, and its row.
    "push.work.before",
    "push.work.after",
    "push.commit.before",
    "push.commit.after",
    # A notification: before it leaves, and before its delivery is recorded.
    "notification.send.before",
    "notification.send.after",
    # A canceled run, tied up.
    "closing.roll_back.before",
    "closing.roll_back.after",
    "closing.mark.before",
    "closing.close.after",
    # Recovery itself.
    "recovery.give_back.before",
    "recovery.give_back.after",
)


def crash_point(name: str) -> None:
    """Die here when armed for this point."""
    armed = settings().sisu_crash_at
    if armed is not None:
        _strike(armed, name)


def _strike(armed: str, name: str) -> None:
    if name not in POINTS:
        raise LookupError(f"{name} is not a crash point; add it to POINTS")
    number = signal.SIGKILL
    if armed.startswith("/"):
        order = Path(armed) / name
        try:
            text = order.read_text().strip()
            order.unlink()
        except FileNotFoundError:
            return
        number = signal.Signals[text] if text else number
    elif name not in armed.split(","):
        return
    os.kill(os.getpid(), number)
