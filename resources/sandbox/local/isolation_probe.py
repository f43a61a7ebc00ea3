"""Self-test that runs inside a sandbox when the provider starts; prints a JSON list of isolation failures."""

import ctypes
import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from_outside = ("/root", "/home", "/var", "/sys", "/boot", "/srv", "/mnt", "/run", "/etc/shadow")
read_only = ("/", "/usr", "/etc", "/dev", "/proc/sys", "/opt/python")
variables = {
    *("HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "OLDPWD", "PATH", "PWD", "PYTHONDONTWRITEBYTECODE"),
    *("SHELL", "SHLVL", "TMPDIR", "USER", "_", "LC_CTYPE"),
}
CLONE_NEWUSER = 0x10000000


def problems() -> Iterator[str]:
    """One sentence per isolation failure."""
    yield from _identity()
    yield from _files()
    yield from _network()
    yield from _system_calls(json.loads(sys.argv[1]))
    if resource.getrlimit(resource.RLIMIT_NPROC)[1] != int(sys.argv[2]):
        yield "the number of processes is not limited"
    if extra := set(os.environ) - variables:
        yield f"the environment holds {', '.join(sorted(extra))}"


def _identity() -> Iterator[str]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if os.getuid() != 65534 or os.geteuid() != 65534 or os.getgroups() not in ([], [65534]):
        yield f"the user is {os.getuid()}, the groups are {os.getgroups()}"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(status[name], 16) != 0:
            yield f"{name} is {status[name]}"
    if status["NoNewPrivs"] != "1":
        yield "privileges can be gained"
    if status["Seccomp"] != "2":
        yield "system calls are not filtered"
    if sum(entry.name.isdigit() for entry in Path("/proc").iterdir()) > 5:
        yield "processes of the host can be seen"
    if max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) > 3:  # 3 is this listing's own
        yield "descriptors were left open"


def _files() -> Iterator[str]:
    for path in from_outside:
        if os.path.lexists(path):
            yield f"{path} of the host can be seen"
    for path in read_only:
        try:
            os.close(os.open(f"{path}/probe", os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError:
            continue
        yield f"{path} can be written"
    if any(Path("/proc/sys").iterdir()):
        yield "kernel settings can be seen"
    if os.path.lexists("/proc/1/mem"):
        yield "the memory of the first process can be reached"
    if not os.access("/work", os.W_OK):
        yield "the working directory cannot be written"


def _network() -> Iterator[str]:
    interfaces = [name for _, name in socket.if_nameindex()]
    if interfaces != ["lo"]:
        yield f"network interfaces: {interfaces}"
    with socket.socket() as outside:
        outside.settimeout(1)
        if outside.connect_ex(("1.1.1.1", 53)) != errno.ENETUNREACH:
            yield "the network can be reached"
    try:
        socket.socket(40, socket.SOCK_STREAM).close()  # AF_VSOCK, which no network namespace confines
    except OSError:
        return
    yield "sockets to the hypervisor can be opened"


def _system_calls(denied: dict[str, int]) -> Iterator[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, number in denied.items():
        arguments = [ctypes.c_ulong(CLONE_NEWUSER if name == "unshare" else 0)] + [ctypes.c_ulong(0)] * 5
        if libc.syscall(ctypes.c_long(number), *arguments) != -1 or ctypes.get_errno() != errno.EPERM:
            yield f"the system call {name} is not denied"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list(problems())))
