"""The commands of `sisu` with their help and parameters, read from Typer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from typer.main import get_command

from sisu_pipeline.cli.command_tree import app


@dataclass(frozen=True)
class CliCommand:
    """A command, or a group of commands: `command` is Typer's object."""

    words: tuple[str, ...]
    command: Any

    @property
    def name(self) -> str:
        """What a person types, without parameters."""
        return " ".join(self.words)

    @property
    def subcommands(self) -> dict[str, "CliCommand"]:
        """The commands of a group by their last word; empty for a command."""
        children = getattr(self.command, "commands", {})
        return {word: CliCommand((*self.words, word), child) for word, child in children.items()}

    @property
    def helps(self) -> Iterator[tuple[str, str]]:
        """The help of the command and of each parameter, with its name."""
        yield self.name, self.command.help or ""
        for parameter in self.command.params:
            yield f"{self.name} {parameter.name}", getattr(parameter, "help", None) or ""

    def faults(self, arguments: Sequence[str]) -> list[str]:
        """Why these arguments are not those of the command; empty when they fit. An ellipsis stands for any."""
        if self.subcommands:
            return self._subcommand_faults(arguments)
        if self.command.context_settings.get("ignore_unknown_options"):
            return []
        options = {name: each for each in self.command.params for name in (*each.opts, *each.secondary_opts)}
        return list(_option_faults(self.name, options, arguments))

    def _subcommand_faults(self, arguments: Sequence[str]) -> list[str]:
        own = {name for each in self.command.params for name in each.opts}
        if not arguments or arguments[0] in {"…", "--help", *own}:
            return []
        chosen = self.subcommands.get(arguments[0])
        return chosen.faults(arguments[1:]) if chosen else [f"unknown command: {self.name} {arguments[0]}"]


def sisu() -> CliCommand:
    """The root of the tree."""
    return CliCommand(("sisu",), get_command(app))


def every_command(command: CliCommand | None = None) -> Iterator[CliCommand]:
    """The root and everything below it."""
    command = command or sisu()
    yield command
    for child in command.subcommands.values():
        yield from every_command(child)


def _option_faults(name: str, options: dict[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    words = iter(arguments)
    positions = [each for each in options.values() if each.param_type_name == "argument"]
    free = 1_000 if any(each.nargs == -1 for each in positions) else len(positions)
    for word in words:
        option, _, value = word.partition("=")
        if not word.startswith("-"):
            free -= word != "…"
        elif option not in options and option != "--help":
            yield f"unknown option: {name} {option}"
        elif option != "--help" and not options[option].is_flag:
            yield from _value_faults(f"{name} {option}", options[option], value or next(words, ""))
    if free < 0:
        yield f"too many arguments: {name} {' '.join(arguments)}"


def _value_faults(name: str, option: Any, value: str) -> Iterator[str]:
    kind = option.type_descriptor.annotation
    choices = [str(choice) for choice in kind] if isinstance(kind, type) and issubclass(kind, Enum) else [value]
    if not value:
        yield f"option without a value: {name}"
    elif value not in (*choices, "…"):
        yield f"unknown value: {name} {value}"
