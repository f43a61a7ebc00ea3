"""What is made once is made by one thread, whoever asks at the same time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from resources.process_cache import once

THREADS = 8


def test_concurrent_threads_get_one_cached_value() -> None:
    made: list[object] = []
    together, slow = Barrier(THREADS), Event()

    @once
    def thing(name: str) -> object:
        slow.wait(0.05)  # the others come while it is made
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        together.wait(10)
        return thing("a")

    with ThreadPoolExecutor(THREADS) as pool:
        got = list(pool.map(ask, range(THREADS)))
    assert len(made) == 1
    assert all(one is made[0] for one in got)


def test_each_argument_has_its_own_value_until_the_cache_is_cleared() -> None:
    made: list[str] = []

    @once
    def thing(name: str) -> int:
        """A number."""
        made.append(name)
        return len(made)

    assert (thing("a"), thing("b"), thing("a")) == (1, 2, 1)
    thing.cache_clear()
    assert thing("a") == 3
    assert thing.__doc__ == "A number."


def test_an_exception_is_not_cached() -> None:
    tries: list[int] = []

    @once
    def thing() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return len(tries)

    with pytest.raises(ValueError, match="not yet"):
        thing()
    assert thing() == 2
