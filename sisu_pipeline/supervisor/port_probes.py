"""Probes of listening sockets: the cheapest check that a process runs."""

import socket
from pathlib import Path

_TIMEOUT_S = 0.2


def port_accepts(port: int) -> bool:
    """Whether a loopback TCP port accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(_TIMEOUT_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def socket_accepts(path: Path) -> bool:
    """Whether a Unix socket accepts connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TIMEOUT_S)
        try:
            return probe.connect_ex(str(path)) == 0
        except OSError:
            return False
