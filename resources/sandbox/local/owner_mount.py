"""Mount of a folder in which another uid owns the files of root.

A file of root has no owner in a sandbox with another uid, and the kernel does not copy such a file up from the
lower folder of an overlay. Standard library only, like `spawn_helper.py`, which calls this as root.
"""

import ctypes
import os
import signal
import struct
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same numbers on every architecture
_OPEN_TREE_CLONE, _AT_FDCWD, _AT_EMPTY_PATH, _MOVE_EMPTY_PATH = 1, -100, 0x1000, 4
_ATTR_RDONLY, _ATTR_IDMAP = 0x1, 0x100000

_libc = ctypes.CDLL(None, use_errno=True)


def mount_as(uid: int, source: str, target: str) -> None:
    """Mount `source` read-only on `target`, which is created, with `uid` as the owner of root's files."""
    Path(target).mkdir(parents=True, exist_ok=True)
    names = _user_namespace(uid)
    tree = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    _check(tree, f"clone the mount of {source}")
    attributes = struct.pack("QQQQ", _ATTR_RDONLY | _ATTR_IDMAP, 0, 0, names)
    _check(_libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes)), "map the owner")
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_EMPTY_PATH), "mount it")
    os.close(tree)
    os.close(names)


def _user_namespace(uid: int) -> int:
    """A descriptor of a user namespace that maps 0 to `uid`; nothing runs in it."""
    ready, ready_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        made = _libc.unshare(_CLONE_NEWUSER) == 0
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.write(ready_writer, b"1" if made else b"0")
        signal.pause()
    try:
        if os.read(ready, 1) != b"1":
            raise OSError("cannot create a user namespace")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 {uid} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(ready_writer)


def _check(done: int, what: str) -> None:
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
