"""Unix sockets of the worker that a sandbox reaches through a mounted folder."""

import os
import socket
from pathlib import Path

from resources.sandbox.local.user_slots import Slot

INNER_RUN = "/run/sisu"
"""The folder inside with the sockets."""

RELAY = Path(__file__).with_name("box_relay.py")
"""The program that connects a TCP port inside with a socket."""

INNER_RELAY = "/opt/sisu/box_relay.py"
"""The path of that program inside."""


def listen(folder: Path, name: str, slot: Slot) -> socket.socket:
    """A listening Unix socket that the slot's user may connect to.

    Bound below a descriptor of the folder: the address of a socket is limited to 107 bytes, a path is not.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)
    if os.getuid() == 0:
        os.chown(folder / name, slot.uid, slot.gid, follow_symlinks=False)
    listener.listen(64)
    listener.setblocking(False)
    return listener
