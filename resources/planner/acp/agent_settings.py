"""Settings of the agent and of its model."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

Dialect = Literal["openai", "anthropic", "gemini"]
"""The HTTP API of the model's provider."""


@dataclass(frozen=True)
class ModelSettings:
    """Where the model is and what it costs. The key never enters the agent's sandbox.

    Prices are in US dollars per million tokens; without them, no cost is known.
    """

    url: str
    name: str
    key: str = field(repr=False)
    dialect: Dialect = "openai"
    input_price: Decimal | None = None
    output_price: Decimal | None = None


@dataclass(frozen=True)
class AgentSettings:
    """How to start the agent and how long it may take.

    `argv` is the command inside the sandbox; `paths` are files and folders of the host that the sandbox shows
    read-only under their own paths. `home` holds the data of the sandboxes.
    """

    argv: tuple[str, ...]
    home: Path
    model: ModelSettings | None = None
    paths: tuple[Path, ...] = ()
    concurrency: int = 2
    memory_mb: int = 3072
    disk_mb: int = 4096
    """Most space of the agent's working directory and home."""
    start_s: float = 60
    """Longest wait for the answer to `initialize` and to `session/new`."""
    cancel_s: float = 5
    """Longest wait for the end of a canceled turn before the agent is killed."""
    idle_s: float = 300
    """Longest silence of the agent during a turn."""
    wall_s: float = 1800
    """Longest duration of a question."""
    repairs: int = 2
    """How often the agent is prompted again when its turn ended without a plan."""
    runtime: Path = Path("/run/sisu-sandbox")
    """Folder that root's workers share; see `LocalSettings`."""


@dataclass(frozen=True)
class PlanLimits:
    """Limits of one question: tokens of all model calls, and their cost in US dollars. None: no limit."""

    tokens: int | None = None
    cost_usd: Decimal | None = None
