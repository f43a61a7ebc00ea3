"""Memory usage of a sandbox, measured from outside."""

import contextlib
import os
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

_PAGE = resource.getpagesize()
_MIB = 1024 * 1024
_BLOCK = 512


def used_mb(init: int, limit_mb: int) -> int:
    """Memory of the pid namespace whose first process is `init` on the host, in MiB.

    The sum of resident sizes, which counts shared pages once per process; only when that exceeds `limit_mb`
    the exact but slower sum of proportional sizes.
    """
    processes = members(init)
    resident = sum(map(_resident, processes))
    if resident > limit_mb * _MIB:
        resident = sum(map(_proportional, processes))
    return -(-resident // _MIB)


def hidden_mb(init: int) -> int:
    """Memory that no process's resident size shows, in MiB: page tables and shared anonymous mappings.

    A shared mapping counts in full even if its pages are unmapped, and once for all processes that share it.
    """
    mappings: dict[str, int] = {}
    tables = 0
    for pid in members(init):
        with contextlib.suppress(OSError, ValueError):
            tables += _page_tables(pid)
            mappings |= dict(_shared_mappings(pid))
    return -(-(tables + sum(mappings.values())) // _MIB)


def _page_tables(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmPTE:"):
            return int(line.split()[1]) * 1024
    return 0


def _shared_mappings(pid: int) -> Iterator[tuple[str, int]]:
    """Inode and bytes of the shared anonymous memory that a process maps, allocated or not."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if not line.endswith("/dev/zero (deleted)"):
            continue
        span, _, _, _, inode, *_ = line.split()
        start, end = (int(each, 16) for each in span.split("-"))
        try:
            yield inode, os.stat(f"/proc/{pid}/map_files/{span}").st_blocks * _BLOCK  # noqa: PTH116
        except OSError:  # reading it requires more than the same uid
            yield inode, end - start


def members(init: int) -> list[int]:
    """Every process of the namespace: detached processes become children of its first process."""
    found = [init]
    for pid in found:
        found.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    if not _kernel_lists_children():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    children: list[int] = []
    with contextlib.suppress(OSError):  # it ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return children


@cache
def _kernel_lists_children() -> bool:
    return Path("/proc/thread-self/children").exists()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return _resident(pid)
    except OSError:
        return 0
    return 0
