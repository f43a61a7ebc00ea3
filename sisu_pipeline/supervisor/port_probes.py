"""Whether somebody listens: the cheapest question to ask a process."""

import socket
from pathlib import Path

_PATIENCE_S = 0.2


def listens(port: int) -> bool:
    """Whether a loopback TCP port takes connections."""
    with socket.socket() as probe:
        probe.settimeout(_PATIENCE_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(path: Path) -> bool:
    """Whether a Unix socket takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PATIENCE_S)
        try:
            return probe.connect_ex(str(path)) == 0
        except OSError:
            return False
