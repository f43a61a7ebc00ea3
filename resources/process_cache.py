"""Values that a process creates once: pools, clients, instances."""

import threading
from collections.abc import Callable, Hashable
from functools import cache
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """A function whose results are cached by its arguments, and computed by one thread while others wait.

    `functools.cache` lets every thread that finds no cached value compute its own. Of two connection pools, the one
    that is not cached would be closed while it is in use.
    """

    def __init__(self, create: Callable[..., Value]) -> None:
        self.__doc__ = create.__doc__
        self._cached = cache(create)
        self._lock = threading.RLock()

    def __call__(self, *arguments: Hashable) -> Value:
        """The value for these arguments. An exception of the function is raised and not cached."""
        with self._lock:
            return self._cached(*arguments)

    def cache_clear(self) -> None:
        """Drop the cached values."""
        self._cached.cache_clear()


def once(create: Callable[..., Value]) -> Once[Value]:
    """Cache the results of a function; see `Once`."""
    return Once(create)
