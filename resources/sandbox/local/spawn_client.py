"""Client of `spawn_helper.py` in the worker: start the helper, start sandboxes, stop it."""

import errno
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from resources.sandbox.sandbox_port import SandboxUnavailable

_SCRIPT = Path(__file__).with_name("spawn_helper.py")
_READY_SECONDS = 20
_STOP_SECONDS = 10


@dataclass(frozen=True)
class Stage:
    """A folder that only sandboxes see filled: `directory` (empty on the host) with host sources by name."""

    directory: str
    binds: dict[str, str]
    copies: dict[str, str]


@dataclass(frozen=True)
class Launch:
    """One sandbox to start: bwrap with `options`, running `command` as real `uid`, under rlimits `limits`."""

    bwrap: str
    options: list[str]
    command: list[str]
    seccomp: str
    uid: int
    gid: int
    limits: dict[str, int]
    cgroup: str | None = None
    lower: dict[str, str] = field(default_factory=dict)
    """Folders of the host and where to mount each so that its files, which are root's, belong to `uid`."""


@dataclass(frozen=True)
class Pipes:
    """The read ends of a started sandbox: output and the status lines of `spawn_helper.py`."""

    stdout: int
    stderr: int
    status: int


@dataclass
class Spawner:
    """A running spawn helper. May be used from several threads."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    owner: int = field(default_factory=os.getpid)

    @classmethod
    def start(cls, stage: Stage | None) -> "Spawner":
        """Start a helper. Raises SandboxUnavailable, or PermissionError if only the stage is not permitted."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        config = {
            "socket": theirs.fileno(),
            "parent": os.getpid(),
            "stage": None if stage is None else asdict(stage),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPT), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is handled by the worker, which stops its sandboxes in order
        )
        theirs.close()
        spawner = cls(process, control)
        spawner._await_ready()
        return spawner

    def launch(self, launch: Launch, stdin: int | None = None) -> Pipes:
        """Start a sandbox; without `stdin`, a descriptor, its stdin is empty. Raises OSError without a spawner."""
        request = os.memfd_create("launch")
        ours: list[int] = []
        theirs: list[int] = []
        try:
            os.write(request, json.dumps(vars(launch)).encode())
            for _ in ("stdout", "stderr", "status"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ours.append(reader)
                theirs.append(writer)
            socket.send_fds(self.control, [b"launch"], [request, *theirs, *([] if stdin is None else [stdin])])
        except OSError:
            _close(ours)
            raise
        finally:
            _close([request, *theirs])
        return Pipes(*ours)

    @property
    def is_running(self) -> bool:
        """Whether it can start sandboxes; a forked child must not use its parent's helper."""
        return self.owner == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        """Stop the helper and every sandbox it started, and wait for its end."""
        self.control.close()
        if self.owner != os.getpid():
            return
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _await_ready(self) -> None:
        self.control.settimeout(_READY_SECONDS)
        try:
            answer = self.control.recv(4096)
        except TimeoutError:
            answer = b""
        self.control.settimeout(None)
        failure = json.loads(answer) if answer else {"error": "it did not start", "errno": errno.EIO}
        if not failure:
            return
        self.close()
        if failure["errno"] == errno.EPERM:
            raise PermissionError(errno.EPERM, failure["error"])
        raise SandboxUnavailable(f"the process that starts sandboxes failed: {failure['error']}")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
