"""Runs inside a sandbox, standard library only: hands TCP connections and stdio to Unix sockets.

    box_relay.py run PORT SOCKET COMMAND...   listen on 127.0.0.1:PORT for SOCKET, and become COMMAND
    box_relay.py stdio SOCKET                 connect stdin and stdout to SOCKET

The sockets are those of the worker outside; the sandbox has no other network.
"""

import os
import socket
import sys
import threading
from contextlib import suppress

_CHUNK = 65536


def main() -> None:
    """Do what the command line names."""
    if sys.argv[1] == "run":
        _run(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        _stdio(sys.argv[2])


def _run(port: int, path: str, command: list[str]) -> None:
    # Listening before the agent starts, so that its first connection is accepted.
    server = socket.create_server(("127.0.0.1", port))
    if os.fork() == 0:
        os.close(0)
        os.close(1)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_connect, args=(connection, path), daemon=True).start()
    server.close()
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def _connect(connection: socket.socket, path: str) -> None:
    outside = socket.socket(socket.AF_UNIX)
    try:
        outside.connect(path)
    except OSError:
        connection.close()
        return
    threading.Thread(target=_copy, args=(outside, connection), daemon=True).start()
    _copy(connection, outside)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _stdio(path: str) -> None:
    outside = socket.socket(socket.AF_UNIX)
    outside.connect(path)

    def to_stdout() -> None:
        while data := outside.recv(_CHUNK):
            _write_all(data)
        os._exit(0)

    threading.Thread(target=to_stdout, daemon=True).start()
    while data := os.read(0, _CHUNK):
        outside.sendall(data)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
