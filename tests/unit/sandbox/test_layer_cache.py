"""The cache of layers: made once, kept while used, removed when old or over the quota."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from resources.sandbox.local.setup.layer_cache import LayerCache

_MIB = 1024 * 1024


def maker(made: list[str], size: int = _MIB) -> Callable[[Path], Awaitable[int]]:
    async def make(target: Path) -> int:
        await asyncio.sleep(0)
        made.append(target.name)
        partial = target.with_name(f"{target.name}.partial")
        partial.mkdir()
        (partial / "file").write_text("x")
        partial.rename(target)
        return size

    return make


async def used(cache: LayerCache, name: str, make: Callable[[Path], Awaitable[int]]) -> str:
    async with cache.use(name, make) as folder:
        return (folder / "file").read_text()


def layers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_a_layer_is_made_once(tmp_path: Path) -> None:
    made: list[str] = []

    async def story() -> list[str]:
        # Two caches stand for two processes: each use has a lock of its own.
        caches = [LayerCache(tmp_path, 10), LayerCache(tmp_path, 10)]
        return await asyncio.gather(*(used(caches[n % 2], "a", maker(made)) for n in range(20)))

    assert asyncio.run(story()) == ["x"] * 20
    assert made == ["a"]


def test_a_failure_reaches_all_that_wait_and_the_next_use_makes_it_again(tmp_path: Path) -> None:
    failures: list[str] = []

    async def fail(target: Path) -> int:
        await asyncio.sleep(0)
        failures.append(target.name)
        raise ValueError("no")

    async def story() -> list[object]:
        cache = LayerCache(tmp_path, 10)
        together = await asyncio.gather(*(used(cache, "a", fail) for _ in range(5)), return_exceptions=True)
        return [*map(str, together), await used(cache, "a", maker([]))]

    assert asyncio.run(story()) == ["no"] * 5 + ["x"]
    assert failures == ["a"]


def test_the_layers_unused_for_longest_are_removed_over_the_quota(tmp_path: Path) -> None:
    async def story() -> None:
        cache, hour_ago = LayerCache(tmp_path, 3), time.time() - 3600
        for number, name in enumerate("abc"):
            await used(cache, name, maker([]))
            os.utime(tmp_path / f"{name}.lock", (0, hour_ago + number))
        await used(cache, "a", maker([]))
        await used(cache, "d", maker([]))

    asyncio.run(story())
    assert layers(tmp_path) == ["a", "c", "d"]
    assert sorted(path.name for path in tmp_path.glob("*.lock")) == ["a.lock", "c.lock", "d.lock"]


def test_a_layer_larger_than_the_quota_is_used_and_removed_for_the_next_one(tmp_path: Path) -> None:
    async def story() -> None:
        cache = LayerCache(tmp_path, 1)
        for name in "ab":
            assert await used(cache, name, maker([], size=5 * _MIB)) == "x"

    asyncio.run(asyncio.wait_for(story(), 10))
    assert layers(tmp_path) == ["b"]


def test_a_layer_that_is_used_stays(tmp_path: Path) -> None:
    async def story() -> None:
        cache = LayerCache(tmp_path, 1)
        async with cache.use("a", maker([])) as folder:
            await used(cache, "b", maker([]))
            await used(LayerCache(tmp_path, 1), "c", maker([]))
            assert (folder / "file").read_text() == "x"

    asyncio.run(story())
    assert "a" in layers(tmp_path)


def test_a_layer_unused_for_a_week_and_the_remains_of_a_removal_are_removed(tmp_path: Path) -> None:
    async def story() -> None:
        cache = LayerCache(tmp_path, 100)
        await used(cache, "old", maker([]))
        os.utime(tmp_path / "old.lock", (0, 0))
        (tmp_path / "half.removed" / "deep").mkdir(parents=True)
        await used(cache, "new", maker([]))

    asyncio.run(story())
    assert layers(tmp_path) == ["new"]


def test_a_canceled_maker_lets_another_one_make_it(tmp_path: Path) -> None:
    async def never(target: Path) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> str:
        cache = LayerCache(tmp_path, 10)
        first = asyncio.create_task(used(cache, "a", never))
        await asyncio.sleep(0)
        while not (tmp_path / "a.lock").exists():
            await asyncio.sleep(0.001)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await used(cache, "a", maker([]))

    assert asyncio.run(asyncio.wait_for(story(), 10)) == "x"
