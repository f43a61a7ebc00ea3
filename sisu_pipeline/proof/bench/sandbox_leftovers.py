"""What sandboxes could leave on this machine: looked at before and after, and compared.

Whole-machine counts, since a thing left behind belongs to nobody: meaningful where nobody else runs sandboxes.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from resources.sandbox.local.sandbox_host import MARK, LocalSettings

_PATIENCE_S = 10.0
_PAUSE_S = 0.1

Kinds = dict[str, list[str]]


@dataclass(frozen=True)
class Inventory:
    """Everything of each kind, by a name that tells two of them apart."""

    processes: frozenset[str]
    """Of sandboxes: marked as such, or run by a uid of the pool."""
    folders: frozenset[str]
    """Working folders of single sandboxes in the provider's area."""
    uids: frozenset[str]
    """Of the pool, leased by somebody."""
    mounts: frozenset[str]
    cgroups: frozenset[str]
    of_the_stack: frozenset[str]
    """Processes that know the stack's data folder, and what providers keep there while they live."""

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}

    def beyond(self, before: "Inventory") -> Kinds:
        """What is here and was not before; kinds with nothing left out."""
        found = {
            field.name: sorted(getattr(self, field.name) - getattr(before, field.name)) for field in fields(self)
        }
        return {kind: names for kind, names in found.items() if names}


def take(home: Path) -> Inventory:
    """What there is now; `home` is a stack's data folder."""
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


def left(home: Path, before: Inventory, *, stack_lives: bool) -> Kinds:
    """What is here that was not before and does not go away within ten seconds."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = take(home).beyond(before)
        if stack_lives:
            found.pop("of_the_stack", None)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_S)


def _commands() -> Iterator[tuple[int, tuple[int, str]]]:
    """Every process: its uid and its command line."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), (entry.stat().st_uid, command)


def _leased(folder: Path) -> Iterator[str]:
    """The uids whose lock file is locked (`resources/sandbox/local/user_slots.py`)."""
    if not folder.exists():
        return
    inodes = {
        line.split()[5].rsplit(":", 1)[1]
        for line in Path("/proc/locks").read_text().splitlines()
        if "FLOCK" in line
    }
    yield from (file.name for file in folder.iterdir() if str(file.stat().st_ino) in inodes)
