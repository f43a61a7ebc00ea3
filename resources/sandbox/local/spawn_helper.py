"""A small process that starts sandboxes: `python -I -S spawn_helper.py CONFIG`, standard library only.

The worker cannot start them itself: bwrap must run under another real uid with its own limits, which
needs code between fork and exec, and that is only safe in a process with one thread; `--die-with-parent`
follows the death of the starting *thread*; and a private mount namespace, made once here, lets an
unprivileged uid reach folders below directories closed to it (a Python under /root, a data folder of 0700).

Protocol: a SOCK_SEQPACKET socket. One message per sandbox, with four descriptors: a JSON request, stdout, stderr,
status; a fifth one is its stdin, which is otherwise empty. The status pipe carries one JSON object per line:
`{"outer-pid"}`, bwrap's own status lines, and, once every process of the sandbox is gone, `{"reaped": {"cpuMs",
"peakKb"}}`; a failure before bwrap runs is a `{"spawn-error"}`. When the socket closes, or the parent is gone, this
process exits and the kernel kills every sandbox it started.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MSG_CMSG_CLOEXEC = 0x40000000
_STATUS_FD, _ARGUMENTS_FD, _SECCOMP_FD, _INFO_FD = 3, 4, 5, 6
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_PARENT_CHECK_MS = 1000

_libc = ctypes.CDLL(None, use_errno=True)
# Loaded once, before any fork: it is needed for every uid. An isolated interpreter does not import its neighbors.
_owner_mount = runpy.run_path(str(Path(__file__).with_name("owner_mount.py")))


def main() -> None:
    """Mount the stage, report readiness, and serve until the parent is gone."""
    config = json.loads(sys.argv[1])
    control = socket.socket(fileno=config["socket"])
    os.umask(0o022)  # ours may be 077, but the uids of the sandboxes must pass through the stage
    try:
        if config["stage"] is not None:
            stage(**config["stage"])
    except OSError as error:
        control.send(json.dumps({"error": str(error), "errno": error.errno}).encode())
        return
    control.send(b"{}")
    Spawner(control, config["parent"]).serve()


def stage(directory: str, binds: dict[str, str], copies: dict[str, str]) -> None:
    """Mount, for this process and its children only, a tmpfs on `directory` with `binds` and `copies` in it.

    Both map a name below `directory` to a source on the host. Raises OSError (EPERM without CAP_SYS_ADMIN).
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", directory, "tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0711,size=16m")
    for name, source in binds.items():
        target = Path(directory) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(source).is_dir():
            target.mkdir()
        else:
            target.touch()
        _mount(source, str(target), None, _MS_BIND | _MS_REC)
    for name, source in copies.items():
        target = Path(directory) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)


def _mount(source: str, target: str, kind: str | None, flags: int, data: bytes | None = None) -> None:
    kind_name = None if kind is None else kind.encode()
    done = _libc.mount(source.encode(), target.encode(), kind_name, ctypes.c_ulong(flags), ctypes.c_char_p(data))
    _check(done, f"mount {source} on {target}")


def _check(done: int, what: str) -> None:
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


@dataclass(frozen=True)
class Usage:  # of a process and those it waited for
    cpu_ms: float
    peak_kb: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu_ms + other.cpu_ms, max(self.peak_kb, other.peak_kb))


@dataclass(frozen=True)
class Box:  # a running bwrap
    status: int  # the status pipe
    info: int  # the pipe on which bwrap reports the first process inside


class Spawner:
    """Forks, reaps and reports. bwrap often ends before the first process of its sandbox, which then becomes a
    child of this process. The sandbox has ended, and its status pipe is closed, when both are gone."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._boxes: dict[int, Box] = {}
        self._ending: dict[int, tuple[Box, Usage]] = {}
        self._orphans: dict[int, Usage] = {}

    def serve(self) -> None:
        """Serve until the socket closes or the parent has died; then kill everything that was started."""
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, signal.SIG_IGN)  # sent to all of a service at once, but the worker decides
        try:
            self._serve()
        finally:
            self._kill_everything()

    def _serve(self) -> None:
        _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")
        wake_up, wake_up_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_up_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_up, select.POLLIN)
        while os.getppid() == self._parent:
            ready = {descriptor for descriptor, _ in poll.poll(_PARENT_CHECK_MS)}
            if wake_up in ready:
                os.read(wake_up, 4096)
            self._reap()
            if self._control.fileno() in ready and not self._receive():
                return

    def _receive(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, 64, 5, MSG_CMSG_CLOEXEC)
        if not message:
            return False
        request, stdout, stderr, status, *stdin = descriptors
        info, info_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            _become_sandbox(request, (*stdin, stdout, stderr), status, info_writer)
        self._boxes[pid] = Box(status, info)
        for descriptor in (request, stdout, stderr, info_writer, *stdin):
            os.close(descriptor)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0] != 0:
                pid, _, spent = ended
                usage = Usage((spent.ru_utime + spent.ru_stime) * 1000, spent.ru_maxrss)
                if pid in self._boxes:
                    self._on_bwrap_gone(self._boxes.pop(pid), usage)
                elif pid in self._ending:
                    box, before = self._ending.pop(pid)
                    _finish(box, before + usage)
                else:
                    self._orphans[pid] = usage
                self._kill_orphans()

    def _kill_everything(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in _children() | self._boxes.keys() | self._ending.keys():
                    _kill(pid)
                pid, _ = os.wait()
                self._boxes.pop(pid, None)
                self._ending.pop(pid, None)

    def _kill_orphans(self) -> None:
        """Kill sandboxes that lost their bwrap.

        `--die-with-parent` alone has a gap: the first process inside is bound to bwrap only a moment after its
        start, and before that waits for it forever.
        """
        for pid in (_children() | self._ending.keys()) - self._boxes.keys():
            _kill(pid)

    def _on_bwrap_gone(self, box: Box, usage: Usage) -> None:
        first_inside = _first_inside(box.info)
        if first_inside in self._orphans:
            _finish(box, usage + self._orphans.pop(first_inside))
        elif first_inside is not None and _is_our_child(first_inside):
            self._ending[first_inside] = (box, usage)
        else:
            _finish(box, usage)  # bwrap itself waited for it


def _children() -> set[int]:
    try:
        return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return set()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _first_inside(info: int) -> int | None:
    try:
        pid = json.loads(os.read(info, 4096))["child-pid"]
    except (OSError, ValueError):  # it failed before it had one
        return None
    return int(pid)


def _is_our_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _finish(box: Box, usage: Usage) -> None:
    _report(box.status, {"reaped": {"cpuMs": round(usage.cpu_ms), "peakKb": usage.peak_kb}})
    os.close(box.status)
    os.close(box.info)


def _report(pipe: int, line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the reader is gone: `serve` will notice that the parent has died
        os.write(pipe, json.dumps(line).encode() + b"\n")


def _become_sandbox(request: int, streams: tuple[int, ...], status: int, info: int) -> NoReturn:
    pipe = status
    try:
        # Written here, not by the spawner: it must precede every line of bwrap.
        _report(status, {"outer-pid": os.getpid()})
        spawner = os.getppid()
        wanted = json.loads(os.pread(request, os.fstat(request).st_size, 0))
        _reset_signals()
        for source, target in wanted["lower"].items():
            _mount_lower(wanted["uid"], source, target)
        arguments = _memory_file(b"".join(option.encode() + b"\0" for option in wanted["options"]))
        seccomp = _memory_file(bytes.fromhex(wanted["seccomp"]))
        if len(streams) == 2:
            streams = (os.open("/dev/null", os.O_RDONLY), *streams)
        _place((*streams, status, arguments, seccomp, info))
        pipe = _STATUS_FD
        _confine(wanted, spawner)
        named = {"--json-status-fd": _STATUS_FD, "--info-fd": _INFO_FD, "--seccomp": _SECCOMP_FD}
        descriptors = [word for name, descriptor in named.items() for word in (name, str(descriptor))]
        command = [wanted["bwrap"], *descriptors, "--args", str(_ARGUMENTS_FD), "--", *wanted["command"]]
        os.execve(wanted["bwrap"], command, {})  # noqa: S606
    except BaseException as error:
        _report(pipe, {"spawn-error": f"{type(error).__name__}: {error}"})
    os._exit(127)


def _mount_lower(uid: int, source: str, target: str) -> None:
    """Mount a folder for a uid, once in the life of the spawner, whose mounts a sandbox inherits."""
    if not os.path.ismount(target):
        _owner_mount["mount_as"](uid, source, target)


def _confine(wanted: dict[str, Any], spawner: int) -> None:
    if wanted["cgroup"] is not None:
        Path(wanted["cgroup"], "cgroup.procs").write_text(str(os.getpid()))
    for name, limit in wanted["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    _drop_to(wanted["uid"], wanted["gid"])
    os.umask(0o022)
    # After the uid changed, which clears it; and the spawner may have died before this line.
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "ask to die with the spawner")
    if os.getppid() != spawner:
        raise ProcessLookupError("the spawner is gone")


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("sandbox")
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _place(descriptors: tuple[int, ...]) -> None:
    """Move `descriptors` to 0, 1, 2, … in that order, and close every other one."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in descriptors]
    for target, descriptor in enumerate(high):
        os.dup2(descriptor, target)
    os.closerange(len(descriptors), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _reset_signals() -> None:
    """Reset signal handlers: Python ignores SIGPIPE and SIGXFSZ, which a command must not inherit."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _drop_to(uid: int, gid: int) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if os.getuid() == 0 or os.geteuid() == 0:
        raise PermissionError("a sandbox must not start with uid 0")


if __name__ == "__main__":
    main()
