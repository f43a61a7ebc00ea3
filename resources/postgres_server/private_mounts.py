"""Bind mounts that only this process and its children see."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def bind_in_private_namespace(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Mount each (source, target) pair of folders in a new mount namespace of this process.

    For a child before it executes a program. Raises OSError (EPERM without CAP_SYS_ADMIN).
    """
    _check(_libc.unshare(_CLONE_NEWNS), "create a mount namespace")
    _mount(b"none", b"/", _MS_REC | _MS_PRIVATE)
    for source, target in pairs:
        _mount(os.fsencode(source), os.fsencode(target), _MS_BIND | _MS_REC)


def _mount(source: bytes, target: bytes, flags: int) -> None:
    done = _libc.mount(source, target, None, ctypes.c_ulong(flags), None)
    _check(done, f"mount {os.fsdecode(source)} on {os.fsdecode(target)}")


def _check(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
