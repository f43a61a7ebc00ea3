"""The only place that starts git: with a fixed environment, fixed settings, and bounds on time and output.

Nothing of the machine's or the user's configuration is read. No program that a repository names is run: hooks, file
system monitors, filters, text converters, credential helpers and transports are off unless a caller allows them.
"""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.git_failures import failure

PLAIN_ATTRIBUTES = "* -filter -text -ident -working-tree-encoding !diff !merge\n"
"""Content of `info/attributes`, which outranks every `.gitattributes`: bytes are never converted."""

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.symlinks": "true",
    "core.fileMode": "true",
    "core.logAllRefUpdates": "false",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.alternateRefsCommand": "true",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.unpackLimit": "1",
    "transfer.fsckObjects": "true",
    # Old tools wrote these; they are harmless.
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingNameBeforeEmail": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "credential.helper": "",
    "credential.useHttpPath": "true",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
}
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
_PIECE = 1 << 16
_MOST_STDERR = 1 << 16
_BLOCK = 512


@dataclass(frozen=True)
class Bounds:
    """Bounds of one git command: seconds, bytes of output, and bytes of the largest file it may write."""

    seconds: float = 120
    output_bytes: int = 64 * 1024 * 1024
    file_bytes: int = 2 * 1024 * 1024 * 1024


@dataclass(frozen=True)
class Git:
    """Git on one repository of ours. Commands may also use an `index` and read or write a `work_tree`."""

    repository: Path
    index: Path | None = None
    work_tree: Path | None = None
    objects: Path | None = None
    """Folder for new objects, beside those of the repository."""
    protocols: tuple[str, ...] = ()
    """Transports that the command may use: `https`, `file`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds = Bounds()

    def run(
        self, action: str, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> bytes:
        """The output of a git command. `action` completes "cannot …" in errors.

        Raises GitRefused or GitUnavailable.
        """
        words = [
            word for name, value in {**_SETTINGS, **self.settings}.items() for word in ("-c", f"{name}={value}")
        ]
        variables = {**_ENVIRONMENT, **self._variables(), **(environment or {})}
        return _run(action, [executable(), *words, *arguments], variables, self.work_tree, stdin, self.bounds)

    def text(
        self, action: str, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> str:
        """The output of a git command as text without its line end. Raises what `run` raises."""
        return self.run(action, *arguments, stdin=stdin, environment=environment).decode().strip()

    def _variables(self) -> dict[str, str]:
        variables = {"GIT_DIR": str(self.repository), "GIT_ALLOW_PROTOCOL": ":".join(self.protocols)}
        if self.index is not None:
            variables["GIT_INDEX_FILE"] = str(self.index)
        if self.work_tree is not None:
            variables["GIT_WORK_TREE"] = str(self.work_tree)
        if self.objects is not None:
            variables["GIT_OBJECT_DIRECTORY"] = str(self.objects)
            variables["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self.repository / "objects")
        return variables


@cache
def executable() -> str:
    """The path of git. Raises GitRefused when it is not installed."""
    found = shutil.which("git", path=_ENVIRONMENT["PATH"]) or shutil.which("git")
    if found is None:
        raise GitRefused("git is not installed: install it to use repositories")
    return found


def init_bare(repository: Path) -> None:
    """Create an empty bare repository without hooks, whose attributes convert nothing."""
    Git(repository).run("create a repository", "init", "--quiet", "--bare", "--template=", str(repository))
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "attributes").write_text(PLAIN_ATTRIBUTES)


def _run(
    action: str, command: list[str], environment: dict[str, str], folder: Path | None, stdin: bytes, bounds: Bounds
) -> bytes:
    # The limit must hold before git starts its own children, so the shell sets it.
    limited = ["/bin/sh", "-c", f'ulimit -f {bounds.file_bytes // _BLOCK}; exec "$@"', "sh", *command]
    process = subprocess.Popen(
        limited,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder or "/",
        start_new_session=True,
        umask=0o022,
    )
    assert process.stdin and process.stdout and process.stderr
    output = _Reader(process, process.stdout, bounds.output_bytes)
    errors = _Reader(process, process.stderr, _MOST_STDERR, keeps_going=True)
    writer = threading.Thread(target=_write, args=(process.stdin, stdin), daemon=True)
    writer.start()
    try:
        process.wait(bounds.seconds)
    except subprocess.TimeoutExpired:
        raise GitUnavailable(f"cannot {action}: git did not finish within {bounds.seconds:g} seconds") from None
    finally:
        _kill(process)
        for thread in (output, errors, writer):
            thread.join()
    if output.is_over:
        raise GitRefused(f"cannot {action}: the result has more than {bounds.output_bytes} bytes")
    if process.returncode != 0:
        raise failure(action, bytes(errors.content) or f"git ended with status {process.returncode}".encode())
    return bytes(output.content)


class _Reader(threading.Thread):
    """Reads a pipe up to a limit. Beyond it, the process is killed, or further bytes are dropped."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", pipe: IO[bytes], limit: int, *, keeps_going: bool = False
    ):
        super().__init__(daemon=True)
        self.content = bytearray()
        self.is_over = False
        self._process, self._pipe, self._limit, self._keeps_going = process, pipe, limit, keeps_going
        self.start()

    def run(self) -> None:
        """Read until the pipe ends."""
        with self._pipe:
            while piece := os.read(self._pipe.fileno(), _PIECE):
                if len(self.content) + len(piece) <= self._limit:
                    self.content += piece
                elif not self._keeps_going and not self.is_over:
                    self.is_over = True
                    _kill(self._process)


def _write(pipe: IO[bytes], content: bytes) -> None:
    try:
        with pipe:
            pipe.write(content)
    except BrokenPipeError:
        return


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill git and the helpers it started, which share its process group, and wait for git."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
