"""The system call filter of a sandboxed command, as a classic BPF program for `bwrap --seccomp`.

An allow-list: `system_calls.py` names the calls a command may make. Those it names as denied fail with EPERM. Every
other call fails with ENOSYS, as on a kernel that lacks it, so that libraries fall back on older calls.
"""

import errno
import platform
import struct
from collections.abc import Iterable

from resources.sandbox.local.isolation.system_calls import CLONE3, MACHINES, Machine

# linux/bpf_common.h, linux/seccomp.h
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_OR_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

# offsets in struct seccomp_data; the low words of the arguments (both machines are little-endian)
_NUMBER = 0
_ARCHITECTURE = 4
_FIRST_ARGUMENT = 16
_SECOND_ARGUMENT = 24

_X32_BIT = 0x40000000
_NEW_NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}. In clone(2) the low byte is the exit signal, which never
has the bit of CLONE_NEWTIME (0x80)."""
_TERMINAL_INJECTION = (0x5412, 0x541C)
"""ioctl TIOCSTI and TIOCLINUX: input injection into another process's terminal."""
_SOCKET_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: confined by the network namespace, unlike AF_VSOCK."""


class UnsupportedMachine(Exception):
    """There is no filter for this architecture, so nothing may run on it."""


def filter_program(machine: str | None = None) -> bytes:
    """The filter for `machine` (default: this one). Raises UnsupportedMachine."""
    name = machine or platform.machine()
    if name not in MACHINES:
        raise UnsupportedMachine(f"no system call filter for {name}; known: {', '.join(sorted(MACHINES))}")
    return _Program(MACHINES[name], has_x32=name == "x86_64").assemble()


class _Program:
    """A straight-line program: each check either returns or falls through to the next one."""

    def __init__(self, machine: Machine, has_x32: bool) -> None:
        self._machine = machine
        self._has_x32 = has_x32
        self._code: list[bytes] = []

    def assemble(self) -> bytes:
        machine = self._machine
        self._load(_ARCHITECTURE)
        self._return_unless(_JUMP_EQUAL, machine.audit_architecture, _KILL_PROCESS)
        self._load(_NUMBER)
        if self._has_x32:
            self._return_if(_JUMP_GREATER_OR_EQUAL, _X32_BIT, _ERRNO | errno.ENOSYS)
        # clone3 hides its flags in memory, where a filter cannot look: without it libc uses clone.
        self._return_if(_JUMP_EQUAL, CLONE3, _ERRNO | errno.ENOSYS)
        # It takes all the disk there is in no time, faster than a quota can be watched; libc then writes instead.
        self._return_if(_JUMP_EQUAL, machine.fallocate, _ERRNO | errno.EOPNOTSUPP)
        self._for_call(machine.clone, self._clone_check())
        self._for_call(machine.ioctl, self._ioctl_check())
        self._for_call(machine.socket, self._socket_check())
        self._for_call(machine.socketpair, self._socket_check())
        for first, last in _ranges(machine.allowed.values()):
            self._return_if_between(first, last, _ALLOW)
        for first, last in _ranges(machine.denied.values()):
            self._return_if_between(first, last, _ERRNO | errno.EPERM)
        self._code.append(_instruction(_RETURN, _ERRNO | errno.ENOSYS))
        return b"".join(self._code)

    def _clone_check(self) -> list[bytes]:
        return [
            _instruction(_LOAD_WORD, _FIRST_ARGUMENT),
            _instruction(_JUMP_ANY_BIT, _NEW_NAMESPACE_FLAGS, on_false=1),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
            _instruction(_RETURN, _ALLOW),
        ]

    def _ioctl_check(self) -> list[bytes]:
        checks = [_instruction(_LOAD_WORD, _SECOND_ARGUMENT)]
        for request in _TERMINAL_INJECTION:
            checks.append(_instruction(_JUMP_EQUAL, request, on_false=1))
            checks.append(_instruction(_RETURN, _ERRNO | errno.EPERM))
        return [*checks, _instruction(_RETURN, _ALLOW)]

    def _socket_check(self) -> list[bytes]:
        checks = [_instruction(_LOAD_WORD, _FIRST_ARGUMENT)]
        for family in _SOCKET_FAMILIES:
            checks.append(_instruction(_JUMP_EQUAL, family, on_false=1))
            checks.append(_instruction(_RETURN, _ALLOW))
        return [*checks, _instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT)]

    def _for_call(self, number: int, checks: list[bytes]) -> None:
        """`checks` end in a return, so they run only for this call and the accumulator stays the number."""
        self._code.append(_instruction(_JUMP_EQUAL, number, on_false=len(checks)))
        self._code.extend(checks)

    def _load(self, offset: int) -> None:
        self._code.append(_instruction(_LOAD_WORD, offset))

    def _return_if(self, jump: int, value: int, verdict: int) -> None:
        self._code.append(_instruction(jump, value, on_false=1))
        self._code.append(_instruction(_RETURN, verdict))

    def _return_if_between(self, first: int, last: int, verdict: int) -> None:
        self._code.append(_instruction(_JUMP_GREATER_OR_EQUAL, first, on_false=2))
        self._code.append(_instruction(_JUMP_GREATER, last, on_true=1))
        self._code.append(_instruction(_RETURN, verdict))

    def _return_unless(self, jump: int, value: int, verdict: int) -> None:
        self._code.append(_instruction(jump, value, on_true=1))
        self._code.append(_instruction(_RETURN, verdict))


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last number of each run of consecutive numbers, ascending."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _instruction(code: int, value: int, on_true: int = 0, on_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", code, on_true, on_false, value)
