"""The system call filter, by a small interpreter of its program and by the kernel's own headers."""

import errno
import re
import struct
from pathlib import Path

import pytest

from resources.sandbox.local.isolation.seccomp import UnsupportedMachine, filter_program
from resources.sandbox.local.isolation.system_calls import MACHINES

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, NO_FAMILY = (0x50000 | number for number in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"#define __NR_(\w+)\s+(\d+)"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to one system call."""
    known = MACHINES[machine].audit_architecture
    data = struct.pack("=IIQ6Q", number, architecture or known, 0, *(*arguments, *[0] * (6 - len(arguments))))
    program = list(struct.iter_unpack("=HBBI", filter_program(machine)))
    position = accumulator = 0
    while True:
        code, on_true, on_false, value = program[position]
        position += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            position += on_true if holds else on_false


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_what_leaves_a_sandbox_is_denied(machine: str) -> None:
    for name, number in MACHINES[machine].denied.items():
        assert verdict(machine, number) == EPERM, name
    for name in ("ptrace", "mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup", "perf_event_open"):
        assert name in MACHINES[machine].denied


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_processes_may_be_made_but_no_namespaces(machine: str) -> None:
    clone = MACHINES[machine].clone
    assert verdict(machine, clone, 17) == ALLOW  # fork
    assert verdict(machine, clone, 0x3D0F00) == ALLOW  # a thread of glibc's
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, clone, flag | 17) == EPERM, hex(flag)
    assert verdict(machine, 435) == ENOSYS  # clone3


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_disk_space_cannot_be_taken_without_writing(machine: str) -> None:
    assert verdict(machine, MACHINES[machine].fallocate) == 0x50000 | errno.EOPNOTSUPP


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_only_confined_socket_families(machine: str) -> None:
    for call in (MACHINES[machine].socket, MACHINES[machine].socketpair):
        assert [verdict(machine, call, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
        assert [verdict(machine, call, family) for family in (17, 38, 40, 44)] == [NO_FAMILY] * 4


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_no_typing_into_a_terminal(machine: str) -> None:
    ioctl = MACHINES[machine].ioctl
    assert [verdict(machine, ioctl, 0, request) for request in (0x5412, 0x541C, 0x5413)] == [EPERM, EPERM, ALLOW]


def test_another_architecture_is_killed_and_x32_does_not_exist() -> None:
    assert verdict("x86_64", 0, architecture=0x40000003) == KILL
    assert verdict("x86_64", 0x40000000 | 165) == ENOSYS


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_call_outside_the_table_does_not_exist(machine: str) -> None:
    known = MACHINES[machine]
    by_argument = {known.clone, known.socket, known.socketpair, known.ioctl, known.fallocate}
    assert not set(known.allowed.values()) & (set(known.denied.values()) | by_argument)
    for number in set(range(1024)) - by_argument:
        expected = ALLOW if number in known.allowed.values() else ENOSYS
        assert verdict(machine, number) == (EPERM if number in known.denied.values() else expected), number


def test_kernel_memory_that_no_process_owns_cannot_be_had() -> None:
    """System V semaphores and message queues, asynchronous I/O contexts."""
    assert [verdict("x86_64", number) for number in (64, 68, 206, 209)] == [ENOSYS] * 4


def test_ordinary_calls_are_allowed() -> None:
    assert [verdict("x86_64", number) for number in (0, 1, 2, 9, 59, 257, 318, 334)] == [ALLOW] * 8


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(UnsupportedMachine):
        filter_program("riscv64")


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_the_numbers_are_the_kernels(machine: str) -> None:
    header, pattern = HEADERS[machine]
    if not header.exists():
        pytest.skip("no kernel headers")
    numbers = {name: int(number) for name, number in re.findall(pattern, header.read_text())}
    known = MACHINES[machine]
    by_argument = {
        "clone": known.clone,
        "socket": known.socket,
        "socketpair": known.socketpair,
        "ioctl": known.ioctl,
    }
    ours = {**known.allowed, **known.denied, **by_argument, "clone3": 435, "fallocate": known.fallocate}
    if machine == "aarch64":  # the generic header names it after the structure it fills
        ours["fstatat"] = ours.pop("newfstatat")
    assert {name: numbers[name] for name in ours if name in numbers} == {
        name: number for name, number in ours.items() if name in numbers
    }
    # Calls from 449 on are newer than some headers; others are defined conditionally.
    assert len({name for name in ours.keys() - numbers.keys() if ours[name] < 449}) <= 3
