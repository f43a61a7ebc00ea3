"""The search for lost work with a clock that tests turn."""

from collections.abc import Callable
from functools import partial

from sisu_pipeline.engine.failure_cause import failure_cause
from sisu_pipeline.recovery.lost_work import LOST_AFTER_SECONDS, LostWork
from tests.integration.engine.intents import Stage


class Search:
    """One process's search. What it finds is acted on at a later look."""

    def __init__(self, stage: Stage) -> None:
        self._now = 0.0
        self._cause = partial(failure_cause, stage.instance)
        self._work = LostWork(stage.dependencies, lambda: self._now)

    def resume(self) -> list[str]:
        """What a look right after the last one enqueues."""
        return self._work.resume()

    def resume_later(self) -> list[str]:
        """What two looks enqueue, the second one when whoever is only slow has had time."""
        return self._work.resume() or self._later(self._work.resume)

    def end_orphans(self) -> list[str]:
        """What a look right after the last one ends."""
        return self._work.end_orphans(self._cause)

    def end_orphans_later(self) -> list[str]:
        """What two looks end, each with what Dagster's log says of its failure."""
        return self.end_orphans() or self._later(self.end_orphans)

    def _later(self, look: Callable[[], list[str]]) -> list[str]:
        self._now += LOST_AFTER_SECONDS
        return look()
