"""Programs that attack the machine from inside a sandbox. Each prints what it achieved: nothing, when it fails.

They run in the working folder, beside `target.json`, which names what of the host they try to reach.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PROGRAM, TARGET = "attack.py", "target.json"
COMMAND = f"python3 -I -S {PROGRAM}"


@dataclass(frozen=True)
class Target:
    """Something of the host: a port and an abstract socket that listen, a process, and a secret in a file."""

    port: int
    abstract: str
    process: int
    file: str
    secret: str
    places: tuple[str, ...] = (
        "/root",
        "/var",
        "/sys",
        "/boot",
        "/srv",
        "/mnt",
        "/etc/shadow",
        "/etc/ssl",
        str(REPOSITORY),
    )


@contextmanager
def listening_target(process: int, file: Path, secret: str) -> Iterator[Target]:
    """A target that listens on the host's loopback and on an abstract socket."""
    file.write_text(secret)
    file.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"sisu-attack-{process}-{threading.get_native_id()}"
        local.bind(f"\0{name}")
        local.listen()
        yield Target(server.getsockname()[1], name, process, str(file), secret)


def files_of(attack: str, target: Target) -> dict[str, str]:
    """The files of an attack, by path."""
    return {PROGRAM: _PREAMBLE + attack, TARGET: json.dumps(asdict(target))}


_PREAMBLE = """
import ctypes, json, os, pathlib, socket, subprocess, sys
from contextlib import suppress
target = json.loads(pathlib.Path('target.json').read_text())
libc = ctypes.CDLL(None, use_errno=True)
"""

NETWORK = """
for family, address in (
    (socket.AF_INET, ('1.1.1.1', 53)), (socket.AF_INET, ('127.0.0.1', target['port'])),
    (socket.AF_INET6, ('::1', target['port'])), (socket.AF_UNIX, chr(0) + target['abstract']),
):
    with suppress(OSError), socket.socket(family) as outside:
        outside.settimeout(1)
        outside.connect(address)
        print('connected to', address)
with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
    outside.sendto(b'x', ('1.1.1.1', 53))
    print('sent a datagram')
for family, kind in ((40, socket.SOCK_STREAM), (socket.AF_PACKET, 3), (socket.AF_INET, socket.SOCK_RAW)):
    with suppress(OSError), socket.socket(family, kind):
        print('opened a socket of family', family)
"""

HOST_FILES = """
for path in (*target['places'], target['file']):
    if os.path.lexists(path):
        print('saw', path)
"""

WRITABLE_PLACES = """
for path in ('/', '/usr', '/usr/bin', '/etc', '/opt', '/opt/sisu', '/run', '/run/sisu', '/dev', '/proc/1'):
    with suppress(OSError):
        pathlib.Path(path, 'planted').write_text('x')
        print('wrote below', path)
mine = ('/proc', '/dev', '/tmp', '/work', os.environ['HOME'])
for folder, folders, names in os.walk('/'):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in mine]
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.W_OK):
            print('could write', path)
"""

KERNEL_SETTINGS = """
for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/kernel/hostname'):
    with suppress(OSError):
        pathlib.Path(path).write_text('pwned')
        print('wrote', path)
if any(names for _, _, names in os.walk('/proc/sys')):
    print('saw kernel settings')
"""

MOUNTS_AND_NAMESPACES = """
for command in ('mount -t tmpfs none /tmp', 'mount -t proc proc /tmp', 'umount /proc/sys', 'umount /usr',
                'unshare -r true', 'unshare -n true', 'unshare -m true', 'chroot / true'):
    with suppress(OSError):
        if subprocess.run(command.split(), capture_output=True).returncode == 0:
            print('ran', command)
for path in ('/proc/1/ns/mnt', '/proc/1/ns/net'):
    with suppress(OSError):
        entered = os.open(path, os.O_RDONLY)
        if libc.setns(entered, 0) == 0:
            print('entered', path)
"""

OTHER_PROCESSES = """
for entry in pathlib.Path('/proc').iterdir():
    if entry.name.isdigit():
        with suppress(OSError):
            if b'pytest' in (entry / 'cmdline').read_bytes():
                print('saw', entry)
with suppress(OSError):
    os.kill(target['process'], 0)
    print('reached the process of the host')
for path in ('/proc/1/mem', '/proc/1/root/etc/shadow', '/proc/1/environ'):
    if os.path.lexists(path):
        print('saw', path)
for number in (16, 0x4206):
    if libc.ptrace(number, 1, None, None) == 0:
        print('traced the first process')
"""

SECRETS = """
found = [json.dumps(dict(os.environ))]
for number in filter(str.isdigit, os.listdir('/proc')):
    for name in ('environ', 'cmdline'):
        with suppress(OSError):
            found.append(pathlib.Path('/proc', number, name).read_bytes().decode(errors='replace'))
if any(target['secret'] in text for text in found):
    print('read the secret')
"""

PRIVILEGES = """
status = dict(line.split(':\\t', 1) for line in pathlib.Path('/proc/self/status').read_text().splitlines())
for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
    if int(status[name], 16):
        print('has', name)
if (status['NoNewPrivs'], status['Seccomp']) != ('1', '2'):
    print('can gain privileges')
for change in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chown('attack.py', 0, 0),
               lambda: os.mknod('device', 0o60600, os.makedev(8, 0))):
    with suppress(OSError):
        change()
        print('changed the user, an owner or a device')
"""

ATTACKS = {
    "network": NETWORK,
    "host files": HOST_FILES,
    "writable places": WRITABLE_PLACES,
    "kernel settings": KERNEL_SETTINGS,
    "mounts and namespaces": MOUNTS_AND_NAMESPACES,
    "other processes": OTHER_PROCESSES,
    "secrets": SECRETS,
    "privileges": PRIVILEGES,
}
"""Attacks that end by themselves."""

DETACHED = """
for _ in range(2):
    if os.fork():
        break
    os.setsid()
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv('/bin/sleep', ['sleep', '314.159'])
"""
"""Processes that detach themselves and ignore signals. Each is a `sleep 314.159`."""

MEMORY = """
import time
children = 0
while children < 8 and os.fork():
    children += 1
mine = bytearray(60_000_000)
for place in range(0, len(mine), 4096):
    mine[place] = 1
time.sleep(60)
"""
"""Takes half a gigabyte in several processes, then waits."""

DISK = """
import time
held = []
for number in range(40):
    held.append(os.open('f', os.O_CREAT | os.O_RDWR))
    os.unlink('f')
    for _ in range(5):
        os.write(held[-1], b'x' * 1_000_000)
time.sleep(60)
"""
"""Takes two hundred megabytes in files without a name, then waits."""

PROCESSES = """
running = []
with suppress(OSError):
    while len(running) < 2000:
        running.append(subprocess.Popen(['sleep', '60']))
print(len(running))
"""
"""Starts as many processes as it can, and prints how many."""
