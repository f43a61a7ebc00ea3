"""What a process makes once: pools, clients, instances."""

import threading
from collections.abc import Callable, Hashable
from functools import cache
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """A function whose value is kept by its arguments, and made by one thread while the others wait.

    `functools.cache` lets every thread that finds nothing kept make one of its own: of two pools of connections the
    one that is not kept is torn down while somebody uses it.
    """

    def __init__(self, make: Callable[..., Made]) -> None:
        self.__doc__ = make.__doc__
        self._kept = cache(make)
        self._lock = threading.RLock()

    def __call__(self, *arguments: Hashable) -> Made:
        """The value for these arguments. Raises what making it raises, and keeps nothing then."""
        with self._lock:
            return self._kept(*arguments)

    def cache_clear(self) -> None:
        """Forget what was made."""
        self._kept.cache_clear()


def once(make: Callable[..., Made]) -> Once[Made]:
    """Keep what a function makes; see `Once`."""
    return Once(make)
