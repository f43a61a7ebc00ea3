"""The command line: help for every command and option, the version, and failures without a traceback."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sisu_pipeline import settings as settings_module
from sisu_pipeline.cli.command_tree import app
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.proof.bench import engine_bench
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.settings import PROJECT_ROOT


def commands(command: Any, path: tuple[str, ...] = ("sisu",)) -> Iterator[tuple[str, Any]]:
    """Every command of the tree by its full name."""
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_one_line_of_help(name: str) -> None:
    command = COMMANDS[name]
    texts = {name: command.help} | {str(each.name): getattr(each, "help", None) for each in command.params}
    for what, text in texts.items():
        assert text, f"{what} has no help"
        assert "\n" not in text.strip(), f"the help of {what} has several lines"
        assert text.endswith("."), f"the help of {what} is not a sentence"


def test_version_prints_the_version_of_the_project() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.output) == (0, f"sisu {project['version']}\n")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_run_and_gate_share_one_implementation_of_a_decision(verb: str) -> None:
    of_run, of_gate = COMMANDS[f"sisu run {verb}"], COMMANDS[f"sisu gate {verb}"]
    assert of_run.callback.__wrapped__ is of_gate.callback.__wrapped__
    assert [each.opts for each in of_run.params] == [each.opts for each in of_gate.params]


@pytest.mark.parametrize("command", [["lab", "crashdemo"], ["bench", "resume"], ["demo"]])
def test_outside_a_source_checkout_labs_and_benches_say_so(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "PROJECT_ROOT", tmp_path)
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 2
    assert f"`sisu {command[0]}` needs a source checkout; {tmp_path} is not one" in outcome.output


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(SettingsError("unknown settings: SISU_PROFIL"), 2), (LabFailed("expected 20 runs succeeded"), 1)],
    ids=["settings", "measurement"],
)
def test_an_error_of_a_bench_is_a_message_and_an_exit_code(
    error: Exception, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(engine_bench, "resume", fail)
    outcome = CliRunner().invoke(app, ["bench", "resume"])
    assert outcome.exit_code == exit_code
    assert f"sisu: {error}" in outcome.output


def test_an_unknown_role_is_named_with_the_known_ones() -> None:
    outcome = CliRunner().invoke(app, ["token", "create", "ann", "--role", "admin"])
    assert outcome.exit_code == 1
    assert "unknown role 'admin'; choose from submitter, approver, operator, viewer" in outcome.output
