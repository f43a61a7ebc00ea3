"""Leftovers of sandboxes on this machine: two inventories compared.

The counts cover the whole machine, because a leftover has no owner: they are meaningful only while no one else runs
sandboxes.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from resources.sandbox.local.sandbox_host import MARK, LocalSettings

_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.1

Kinds = dict[str, list[str]]


@dataclass(frozen=True)
class Inventory:
    """What exists of each kind, by unique name."""

    processes: frozenset[str]
    """Processes of sandboxes: marked as such, or run by a uid of the pool."""
    folders: frozenset[str]
    """Working folders of single sandboxes."""
    uids: frozenset[str]
    """Leased uids of the pool."""
    mounts: frozenset[str]
    cgroups: frozenset[str]
    of_the_stack: frozenset[str]
    """Processes with the stack's data folder on their command line, and the folders of live providers in it."""

    def counts(self) -> dict[str, int]:
        """The number of entries of each kind."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}

    def added_since(self, before: "Inventory") -> Kinds:
        """Entries that the other inventory lacks, by kind; kinds without any are omitted."""
        found = {
            field.name: sorted(getattr(self, field.name) - getattr(before, field.name)) for field in fields(self)
        }
        return {kind: names for kind, names in found.items() if names}


def take_inventory(home: Path) -> Inventory:
    """Take the inventory now; `home` is a stack's data folder."""
    settings = LocalSettings(home / "sandbox")
    boxes = settings.home / "boxes"
    instances = set(boxes.iterdir()) if boxes.exists() else set()
    commands = dict(_commands())
    pool = range(settings.uid_first, settings.uid_first + settings.uid_count)
    sandboxed = {pid for pid, (uid, command) in commands.items() if MARK in command or uid in pool}
    of_the_stack = {pid for pid, (_, command) in commands.items() if str(home) in command}
    return Inventory(
        processes=frozenset(f"{pid} {commands[pid][1][:120]}" for pid in sandboxed),
        folders=frozenset(str(box) for instance in instances if instance.is_dir() for box in instance.iterdir()),
        uids=frozenset(_leased(settings.runtime / "uids")),
        mounts=frozenset(line.split(" ", 1)[1] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        cgroups=frozenset(str(folder) for folder in Path("/sys/fs/cgroup").rglob("*") if folder.is_dir()),
        of_the_stack=frozenset(f"{pid} {commands[pid][1][:120]}" for pid in of_the_stack) | {*map(str, instances)},
    )


def find_leftovers(home: Path, before: Inventory, *, stack_is_running: bool) -> Kinds:
    """Entries added since `before` that do not disappear within ten seconds."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        found = take_inventory(home).added_since(before)
        if stack_is_running:
            found.pop("of_the_stack", None)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_INTERVAL_S)


def _commands() -> Iterator[tuple[int, tuple[int, str]]]:
    """Every process: pid, uid and command line."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), (entry.stat().st_uid, command)


def _leased(folder: Path) -> Iterator[str]:
    """The uids with a locked lock file (`resources/sandbox/local/user_slots.py`)."""
    if not folder.exists():
        return
    inodes = {
        line.split()[5].rsplit(":", 1)[1]
        for line in Path("/proc/locks").read_text().splitlines()
        # A line with an arrow is a waiter, not a holder.
        if "FLOCK" in line and "->" not in line
    }
    yield from (file.name for file in folder.iterdir() if str(file.stat().st_ino) in inodes)
