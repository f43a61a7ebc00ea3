"""The system calls a sandboxed command may not make, as a classic BPF program for `bwrap --seccomp`.

Everything a build or a test needs stays allowed; denied is what only serves to leave the sandbox or to reach
rarely used kernel code: mounts, namespaces, tracing, keys, bpf, io_uring, foreign socket families; and memory that
belongs to no process, which a limit on processes does not bound: memfd_create and System V shared memory.
"""

import errno
import platform
import struct
from dataclasses import dataclass

# linux/bpf_common.h, linux/seccomp.h
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
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
"""ioctl TIOCSTI and TIOCLINUX: typing into somebody else's terminal."""
_SOCKET_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: confined by the network namespace, unlike AF_VSOCK."""


@dataclass(frozen=True)
class Machine:
    """One architecture: its audit number and the numbers of its system calls."""

    audit_architecture: int
    ioctl: int
    socket: int
    clone: int
    fallocate: int
    denied: dict[str, int]


_SAME_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "statmount": 457,
    "listmount": 458,
    "open_tree_attr": 467,
}
_CLONE3 = 435

MACHINES = {
    "x86_64": Machine(
        audit_architecture=0xC000003E,
        ioctl=16,
        socket=41,
        clone=56,
        fallocate=285,
        denied={
            "shmget": 29,
            "ptrace": 101,
            "syslog": 103,
            "uselib": 134,
            "personality": 135,
            "vhangup": 153,
            "modify_ldt": 154,
            "pivot_root": 155,
            "adjtimex": 159,
            "chroot": 161,
            "acct": 163,
            "settimeofday": 164,
            "mount": 165,
            "umount2": 166,
            "swapon": 167,
            "swapoff": 168,
            "reboot": 169,
            "sethostname": 170,
            "setdomainname": 171,
            "iopl": 172,
            "ioperm": 173,
            "init_module": 175,
            "delete_module": 176,
            "quotactl": 179,
            "clock_settime": 227,
            "kexec_load": 246,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "migrate_pages": 256,
            "unshare": 272,
            "move_pages": 279,
            "perf_event_open": 298,
            "fanotify_init": 300,
            "name_to_handle_at": 303,
            "open_by_handle_at": 304,
            "clock_adjtime": 305,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "kcmp": 312,
            "finit_module": 313,
            "kexec_file_load": 320,
            "memfd_create": 319,
            "bpf": 321,
            "userfaultfd": 323,
            **_SAME_EVERYWHERE,
        },
    ),
    "aarch64": Machine(
        audit_architecture=0xC00000B7,
        ioctl=29,
        socket=198,
        clone=220,
        fallocate=47,
        denied={
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "vhangup": 58,
            "quotactl": 60,
            "acct": 89,
            "personality": 92,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "delete_module": 106,
            "clock_settime": 112,
            "syslog": 116,
            "ptrace": 117,
            "reboot": 142,
            "sethostname": 161,
            "setdomainname": 162,
            "settimeofday": 170,
            "adjtimex": 171,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "swapon": 224,
            "swapoff": 225,
            "migrate_pages": 238,
            "move_pages": 239,
            "perf_event_open": 241,
            "fanotify_init": 262,
            "name_to_handle_at": 264,
            "open_by_handle_at": 265,
            "clock_adjtime": 266,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "kcmp": 272,
            "finit_module": 273,
            "shmget": 194,
            "memfd_create": 279,
            "bpf": 280,
            "userfaultfd": 282,
            "kexec_file_load": 294,
            **_SAME_EVERYWHERE,
        },
    ),
}


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
        self._return_if(_JUMP_EQUAL, _CLONE3, _ERRNO | errno.ENOSYS)
        # It takes all the disk there is in no time, faster than a quota can be watched; libc then writes instead.
        self._return_if(_JUMP_EQUAL, machine.fallocate, _ERRNO | errno.EOPNOTSUPP)
        for number in sorted(machine.denied.values()):
            self._return_if(_JUMP_EQUAL, number, _ERRNO | errno.EPERM)
        self._for_call(machine.clone, self._clone_check())
        self._for_call(machine.ioctl, self._ioctl_check())
        self._for_call(machine.socket, self._socket_check())
        self._code.append(_instruction(_RETURN, _ALLOW))
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

    def _return_unless(self, jump: int, value: int, verdict: int) -> None:
        self._code.append(_instruction(jump, value, on_true=1))
        self._code.append(_instruction(_RETURN, verdict))


def _instruction(code: int, value: int, on_true: int = 0, on_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", code, on_true, on_false, value)
