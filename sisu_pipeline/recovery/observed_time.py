"""Durations by the clock of the process that observes them.

Rows of Dagster carry the time of the machine that wrote them. That clock may be hours away from any other, so no
duration is computed from it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key")

OWN_CLOCK = time.monotonic


@dataclass
class ObservedTime(Generic[Key]):
    """How long this process has seen something without interruption."""

    clock: Callable[[], float] = OWN_CLOCK
    _since: dict[Key, float] = field(default_factory=dict)

    def lasting(self, seen: Iterable[Key], seconds: float) -> list[Key]:
        """Those of `seen` that every call has seen for at least so long. What a call does not see is forgotten."""
        now = self.clock()
        self._since = {key: self._since.get(key, now) for key in seen}
        return [key for key, since in self._since.items() if now - since >= seconds]
