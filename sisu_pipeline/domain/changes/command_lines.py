"""The shell commands of tasks: a plan's command with the name of a test as one argument."""

import re
import shlex
from collections.abc import Sequence

from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.sandbox_request import LONGEST_COMMAND

_PLACEHOLDER = re.compile(r"(?<!\$)\{test\}")


def command_line(command: str, test: str) -> str:
    """The shell command of a task: the name of its test is one argument, at `{test}` or else at the end.

    `${test}` is a variable of the shell and stays.
    """
    argument = shlex.quote(test)
    placed, places = _PLACEHOLDER.subn(lambda _: argument, command)
    return placed if places else f"{command} {argument}"


def command_error(command: str, tests: Sequence[str]) -> str | None:
    """The sentence about the task whose command is too long to be executed; None when all fit."""
    longest = max(tests, key=_argument_bytes, default=None)
    size = len(command.encode())
    if longest is not None:
        places, argument = len(_PLACEHOLDER.findall(command)), _argument_bytes(longest)
        size += places * (argument - len("{test}")) if places else 1 + argument
    if size <= LONGEST_COMMAND:
        return None
    of_test = "" if longest is None else f" with the test {shown(longest)}"
    return f"testCommand{of_test} has {size:,} bytes; the command of a task has at most {LONGEST_COMMAND:,}"


def _argument_bytes(test: str) -> int:
    return len(shlex.quote(test).encode())
