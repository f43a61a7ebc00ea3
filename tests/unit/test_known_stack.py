"""Commands find the stack that the user started last, from any folder without one of its own."""

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sisu_pipeline import settings as settings_module
from sisu_pipeline.cli.command_tree import app
from sisu_pipeline.console.known_stack import KnownStack, recall, remember


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a stack; the test runs in another folder, with a user's home folder of its own."""
    for name in ("user", "work", "stack"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    # Set first, so that what the commands change is undone.
    monkeypatch.setenv("SISU_HOME", "")
    monkeypatch.setenv("PORT", "")
    monkeypatch.delenv("SISU_HOME")
    monkeypatch.delenv("PORT")
    monkeypatch.chdir(tmp_path / "work")
    settings_module.settings.cache_clear()
    return tmp_path / "stack"


def test_a_stack_is_remembered_for_this_user_alone(elsewhere: Path) -> None:
    assert recall() is None
    remember(KnownStack(elsewhere, 3301))
    assert recall() == KnownStack(elsewhere, 3301)
    file = Path.home() / ".local/state/sisu/stack.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Path(".sisu").mkdir()
    assert recall() is None


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"home": "/nowhere", "port": 1}', '{"home": "/", "port": "x"}']
)
def test_a_record_that_names_no_stack_is_ignored(elsewhere: Path, content: str) -> None:
    remember(KnownStack(elsewhere, 3301))
    (Path.home() / ".local/state/sisu/stack.json").write_text(content)
    assert recall() is None


def test_a_command_uses_the_remembered_stack_unless_an_option_names_another(elsewhere: Path) -> None:
    remember(KnownStack(elsewhere, 1))
    refused = CliRunner().invoke(app, ["run", "list"])
    assert (refused.exit_code, "cannot connect to http://127.0.0.1:1;" in refused.output) == (2, True)
    assert os.environ["SISU_HOME"] == str(elsewhere)
    settings_module.settings.cache_clear()
    other = CliRunner().invoke(app, ["--home", str(elsewhere / "other"), "run", "list"])
    assert other.exit_code == 2
    assert os.environ["SISU_HOME"] == str(elsewhere / "other")
    assert not (elsewhere / "other").exists()
