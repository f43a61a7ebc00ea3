"""The settings of the running stack, which the environment of a shell may contradict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from sisu_pipeline.settings import Settings, load_settings

LOCK = "stack.lock"


@dataclass(frozen=True)
class Difference:
    """One setting that a shell and the running stack have with other values; secrets are masked."""

    variable: str
    shell: Any
    stack: Any


@dataclass(frozen=True)
class ReportedSettings:
    """The settings that a report is about: those of the running stack, or of the shell where none runs."""

    settings: Settings
    process: int | None = None
    """Process id of the running stack; None where none runs or its environment cannot be read."""
    differences: tuple[Difference, ...] = field(default=())
    is_unreadable: bool = False
    """Whether a stack runs, but as another user, so that the settings are the shell's."""

    @property
    def origin(self) -> str:
        """Whose settings they are, as a sentence."""
        home = self.settings.home
        if self.is_unreadable:
            return (
                f"settings of this shell: the stack on {home} runs as another user; run this command as that user"
            )
        if self.process is None:
            return f"settings of this shell: no stack is running on {home}"
        return f"settings of the stack on {home}, process {self.process}"


def reported(shell: Settings) -> ReportedSettings:
    """The settings of the stack that runs on the shell's data folder; without one, the shell's."""
    process = _supervisor(shell.home)
    if process is None:
        return ReportedSettings(shell)
    try:
        if str(shell.home / LOCK) not in {each.path for each in process.open_files()}:
            return ReportedSettings(shell)
        stack = load_settings(_environment(process.environ(), process.cwd(), shell.home))
    except psutil.AccessDenied:
        return ReportedSettings(shell, is_unreadable=True)
    except psutil.NoSuchProcess:
        return ReportedSettings(shell)
    return ReportedSettings(stack, process.pid, tuple(_differences(shell, stack)))


def database_settings(shell: Settings) -> Settings:
    """The settings by which a report finds the database: the shell's where it names one, else the stack's."""
    return shell if shell.database_url is not None else reported(shell).settings


def _supervisor(home: Path) -> psutil.Process | None:
    """The process that was the last to take the lock of the data folder, if it still exists."""
    try:
        return psutil.Process(int((home / LOCK).read_text()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


def _environment(given: Mapping[str, str], folder: str, home: Path) -> dict[str, str]:
    """The environment of the stack with paths that mean the same in every folder."""
    environment = {**given, "SISU_HOME": str(home)}
    if receivers := given.get("SISU_NOTIFICATIONS"):
        environment["SISU_NOTIFICATIONS"] = str(Path(folder, Path(receivers).expanduser()))
    return environment


def _differences(shell: Settings, stack: Settings) -> list[Difference]:
    ours, theirs = shell.model_dump(mode="json"), stack.model_dump(mode="json")
    return [
        Difference(name.upper(), ours[name], theirs[name])
        for name, definition in Settings.model_fields.items()
        if name != "sisu_home"
        and not _is_of_the_shell(definition.json_schema_extra)
        and _plain(shell, name) != _plain(stack, name)
    ]


def _is_of_the_shell(extra: Any) -> bool:
    """Whether only commands read a setting, such as the token of the person who calls."""
    return isinstance(extra, dict) and extra["read_by"] == ["cli"]


def _plain(settings: Settings, name: str) -> Any:
    if name == "sisu_notifications":
        return settings.receivers_file
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value
