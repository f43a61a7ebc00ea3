"""Resources that the local provider opens once: bwrap, folders, uids, the process that starts sandboxes."""

import errno
import itertools
import os
import resource
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.sandbox.local.host_instance import HOME_SUFFIX, LAYER_SUFFIX, Instance
from resources.sandbox.local.isolation import bwrap
from resources.sandbox.local.isolation.bwrap import Bwrap
from resources.sandbox.local.isolation.cgroup import Cgroup, delegated_cgroup
from resources.sandbox.local.isolation.seccomp import UnsupportedMachine, filter_program
from resources.sandbox.local.root_layout import Layout, plain_layout, staged_layout, write_etc
from resources.sandbox.local.spawn_client import Launch, Pipes, Spawner
from resources.sandbox.local.user_slots import SharedSlot, Slot, UidPool
from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.contracts.sandbox_request import SandboxRequest

MARK = "sisu-sandbox-"
"""Prefix of a word on the command line of bwrap and its shell, by which a sandbox's processes can be found."""

LIMITS = ("cpu", "disk", "memory", "processes", "uid")
"""The limits of a sandbox. `uid` stands for a user of its own."""

_HARD = frozenset({"cgroup", "rlimit", "own"})
"""The mechanisms that a command cannot exceed; a watchdog is exceeded between two checks."""

_MIB = 1024 * 1024
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class LocalSettings:
    """`home` holds the data; `runtime` (root only) is shared by all workers of the machine, like `/run`.

    A command may have `most_processes` processes and threads and `disk_mb` MiB in its working folder; as root
    each sandbox runs as one of `uid_count` uids from `uid_first`, which is also how many run at once. All
    results of setups have `setup_cache_mb` MiB together.
    `hard_limits` are the limits that the kernel must enforce on this machine, out of LIMITS.
    """

    home: Path
    runtime: Path = Path("/run/sisu-sandbox")
    most_processes: int = 256
    disk_mb: int = 512
    uid_first: int = 58_000
    uid_count: int = 256
    setup_cache_mb: int = 10_240
    hard_limits: frozenset[str] = frozenset()
    remembers_interrupted: bool = True
    """Whether a task whose worker died is remembered until it runs again."""


@dataclass
class Host:
    """The opened resources. `launch` may be called from several threads."""

    settings: LocalSettings
    bwrap: Bwrap
    instance: Instance
    layout: Layout
    slots: UidPool | SharedSlot
    seccomp: str
    cgroup_parent: Path | None
    spawner: Spawner
    can_layer: bool = False
    """Whether a tree can be mounted below a working folder, without a copy."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _restart: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, settings: LocalSettings, shared: Mapping[str, str] = _NOTHING) -> "Host":
        """Open all resources. Raises SandboxUnavailable, which names the missing one.

        `shared` are further files and folders of the host that launches may mount: the absolute path by a name.
        """
        try:
            return cls._open(settings, shared)
        except (OSError, UnsupportedMachine) as error:
            raise SandboxUnavailable(f"the local sandbox cannot start: {error}") from error

    @classmethod
    def _open(cls, settings: LocalSettings, shared: Mapping[str, str]) -> "Host":
        found = bwrap.find_bwrap()
        seccomp = filter_program().hex()
        settings.home.mkdir(parents=True, exist_ok=True)
        write_etc(settings.home)
        slots = _slots(settings)
        cgroup_parent = delegated_cgroup()
        _require(settings.hard_limits, _mechanisms(slots, cgroup_parent is not None, cpu=True))
        instance = Instance.create(settings.home, remembers_interrupted=settings.remembers_interrupted)
        try:
            layout, spawner = _start(settings, instance.boxes, found, shared)
        except BaseException:
            instance.remove()
            raise
        return cls(settings, found, instance, layout, slots, seccomp, cgroup_parent, spawner)

    def new_box(self, task_key: str) -> str:
        """A new name for a working folder, unique in this instance."""
        return self.instance.box(next(self._numbers), task_key)

    def mark(self, box: str) -> str:
        """A word on their command line by which the processes of a sandbox can be found."""
        return f"{MARK}{self.instance.boxes.name}-{box}"

    def launch(
        self,
        request: SandboxRequest,
        box: str,
        inner_directory: str,
        slot: Slot,
        cgroup: Cgroup | None,
        lower: Sequence[Path] = (),
    ) -> tuple[Pipes, Spawner]:
        """Start the command of `request`; returns its pipes and its spawner. Raises OSError.

        `lower` are folders of `layout.trees` and `layout.setups` that the command finds below its working folder,
        the lowest first.
        """
        work, layers = f"{self.layout.boxes_seen}/{box}", None
        if lower:
            seen = tuple(self.layout.seen_by(slot.uid, folder) for folder in lower)
            layers = bwrap.Layers(seen, f"{work}{LAYER_SUFFIX}")
        launch = Launch(
            bwrap=self.layout.bwrap,
            options=bwrap.options(
                self.layout.sources,
                work,
                inner_directory,
                request.env,
                layers,
                home=f"{work}{HOME_SUFFIX}",
                has_setup=request.setup is not None,
            ),
            command=bwrap.command(request.cmd, self.settings.most_processes, self.mark(box)),
            seccomp=self.seccomp,
            uid=slot.uid,
            gid=slot.gid,
            limits=self.limits(request.timeout_ms, request.limits.mem_mb, self.settings.disk_mb),
            cgroup=None if cgroup is None else str(cgroup.path),
            lower=self.layout.mounts_of(slot.uid, lower),
        )
        return self.start(launch)

    def start(self, launch: Launch, stdin: int | None = None) -> tuple[Pipes, Spawner]:
        """Start a sandbox; returns its pipes and its spawner. Raises OSError."""
        spawner = self._running_spawner()
        return spawner.launch(launch, stdin), spawner

    def enforcement(self, cgroup: Cgroup | None) -> dict[str, str]:
        """The mechanism that enforces each limit, for raw and for `sisu doctor`."""
        return _mechanisms(self.slots, cgroup is not None, cpu=cgroup is not None and cgroup.has_cpu_limit)

    def describe(self) -> dict[str, Any]:
        """Plain JSON for `sisu doctor`."""
        mechanisms = _mechanisms(self.slots, self.cgroup_parent is not None, cpu=True)
        return {
            "bwrap": self.bwrap.path,
            "bwrapVersion": self.bwrap.version,
            "limitsNotEnforcedByKernel": ", ".join(_soft(mechanisms)) or "none",
            "treesOfRuns": "mounted" if self.can_layer else "copied",
            "memoryLimit": "watchdog" if self.cgroup_parent is None else "cgroup",
            "uids": "one per sandbox" if self.slots.is_own_uid else "shared",
            "staged": self.layout.stage is not None,
        }

    def close(self) -> None:
        """Stop all sandboxes and remove the folders."""
        self.spawner.close()
        self.instance.remove()

    def _running_spawner(self) -> Spawner:
        with self._restart:
            if not self.spawner.is_running:
                self.spawner.close()
                self.spawner = Spawner.start(self.layout.stage)
            return self.spawner

    def limits(self, timeout_ms: int, mem_mb: int, disk_mb: int) -> dict[str, int]:
        """The rlimits of every process of the sandbox: coarse limits behind those of the watchdog.

        Memory is bound as RLIMIT_DATA: RLIMIT_AS would also count what a runtime only reserves, and
        Node reserves gigabytes. The wall clock ends a command long before its CPU limit does.
        """
        cores = os.cpu_count() or 1
        wanted = {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": (timeout_ms // 1000 + 5) * cores,
            "RLIMIT_DATA": mem_mb * 2 * _MIB,
            "RLIMIT_FSIZE": disk_mb * _MIB,
            "RLIMIT_MEMLOCK": 64 * 1024,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_NOFILE": 1024,
            "RLIMIT_RTPRIO": 0,
        }
        return {name: at_most_ours(name, limit) for name, limit in wanted.items()}


def at_most_ours(name: str, limit: int) -> int:
    """The limit, or this process's own if that is lower: only privileged processes can raise one."""
    ours = resource.getrlimit(getattr(resource, name))[1]
    return limit if ours == resource.RLIM_INFINITY else min(limit, ours)


def _mechanisms(slots: UidPool | SharedSlot, has_cgroup: bool, *, cpu: bool) -> dict[str, str]:
    """The mechanism of each limit; `cpu`: whether the CPU limit of a cgroup is set."""
    return {
        "cpu": "cgroup" if has_cgroup and cpu else "none",
        "disk": "watchdog",
        "memory": "cgroup" if has_cgroup else "watchdog",
        "processes": "rlimit",
        "uid": "own" if slots.is_own_uid else "shared",
    }


def _soft(mechanisms: dict[str, str]) -> list[str]:
    return [name for name, mechanism in mechanisms.items() if mechanism not in _HARD]


def _require(hard_limits: frozenset[str], mechanisms: dict[str, str]) -> None:
    """Raises SandboxUnavailable for a required limit that the kernel does not enforce here."""
    missing = [f"{name} ({mechanisms[name]})" for name in _soft(mechanisms) if name in hard_limits]
    if missing:
        raise SandboxUnavailable(
            f"the kernel does not enforce these limits of the local sandbox here: {', '.join(missing)}; run the "
            "worker in a delegated cgroup (memory, cpu) or as root (uid), or remove them from SBX_HARD_LIMITS"
        )


def _slots(settings: LocalSettings) -> UidPool | SharedSlot:
    if os.getuid() != 0:
        return SharedSlot()
    return UidPool(settings.runtime / "uids", settings.uid_first, settings.uid_count)


def _start(settings: LocalSettings, boxes: Path, found: Bwrap, shared: Mapping[str, str]) -> tuple[Layout, Spawner]:
    if os.getuid() == 0:
        directory = settings.runtime / "stage"
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (settings.runtime, directory):
            folder.chmod(0o711)
        layout = staged_layout(settings.home, boxes, found, directory, shared)
        try:
            return layout, Spawner.start(layout.stage)
        except PermissionError as error:
            # Root of a container without CAP_SYS_ADMIN. If the plain paths are not reachable either, the
            # self-test says so.
            if error.errno != errno.EPERM:
                raise
    layout = plain_layout(settings.home, boxes, found, shared)
    return layout, Spawner.start(None)
