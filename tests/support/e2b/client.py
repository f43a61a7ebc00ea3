"""Starting the test server in a process of its own, and talking to its back door."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class E2bServer:
    """A running test server."""

    url: str

    def set(self, **faults: Any) -> None:
        """Change what goes wrong (see `Faults`)."""
        self._ask("state", json.dumps(faults).encode())

    def reset(self) -> None:
        """Kill every sandbox, forget everything."""
        self._ask("reset", b"{}")

    def state(self) -> dict[str, Any]:
        """What is alive and what happened so far."""
        return self._ask("state", None)

    def _ask(self, door: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/_test/{door}", body)) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer


@contextmanager
def running() -> Iterator[E2bServer]:
    """A server that lives as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.e2b"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield E2bServer(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
