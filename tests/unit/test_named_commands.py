"""The scan for commands in messages finds them where people read them, and nothing in prose."""

import ast

import pytest

from tests.support.named_commands import _commands_of, _literals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start it with `sisu db up`.", ["sisu db up"]),
        ("Next: sisu run logs …, or sisu run retry …", ["sisu run logs …", "sisu run retry …"]),
        ("DBOS__APPVERSION=… sisu worker --queue …, or more", ["DBOS__APPVERSION=… sisu worker --queue …"]),
        ("SISU_HOME=/x sisu start; in Dagster's UI", ["SISU_HOME=… sisu start"]),
        ("`sisu token list` shows all", ["sisu token list"]),
        ("sisu gate list shows RUN", ["sisu gate list"]),
        ("See `sisu version adopt --help`", ["sisu version adopt --help"]),
        ("`sisu lab chaos --minutes 0.5 --seed 7`", ["sisu lab chaos --minutes … --seed …"]),
        ("run `make install` there", ["make install"]),
        ("sisu webserver: failed", []),
        ("the tool of the server sisu exactly once", []),
        ("/home/sisu run", []),
    ],
)
def test_a_command_ends_where_prose_begins(text: str, expected: list[str]) -> None:
    assert list(_commands_of(text)) == expected


def test_texts_are_literals_and_templates_and_the_help_of_commands() -> None:
    module = ast.parse(
        '"""Module."""\n'
        "def plain():\n    '''Plain.'''\n    return f'a {1} b'\n"
        "@app.command()\ndef command():\n    '''Help.'''\n    return 'text' 'two'\n"
    )
    assert sorted(_literals(module)) == ["Help.", "a … b", "texttwo"]
