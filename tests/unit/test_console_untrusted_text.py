"""Whatever a plan, a run or an error contains, a terminal shows it and never obeys it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.console import formatting
from sisu_pipeline.console.command_output import CommandOutput, print_line, to_json_text
from sisu_pipeline.console.exit_codes import FAILED, Failure
from sisu_pipeline.console.run_watch import _prefixed
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.complete_plan import seal
from sisu_pipeline.domain.untrusted_text import is_hidden
from tests.unit.test_complete_plan import TERMS
from tests.unit.test_untrusted_text import ATTACKS

EVERY_ATTACK = pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)


def shows_only_data(written: str) -> bool:
    return not any(is_hidden(each) for each in written)


@EVERY_ATTACK
def test_a_plan_cannot_rewrite_its_own_display(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {name: [text] for name in ("design", "files", "risks", "tests")}
    patch: dict[str, Any] = {
        "targetPath": text,
        "op": "modify",
        "fromPath": None,
        "diffText": f"+{text}\n",
        "remarks": [],
    }
    asked = {"round": 2, "requestedBy": text, "comment": text, "version": None, "error": text, "outcome": "failed"}
    version = {"version": 2, "planSha256": "0" * 64, "agent": text, "editedBy": text, "model": text}
    complete = seal(Plan.from_json({**plan, "goal": "g", "testCommand": text}), {}, TERMS).read().to_json()
    view: dict[str, Any] = {
        "gates": [
            {
                "gateKey": text,
                "state": "open",
                "openedAt": "now",
                "deadlineAt": None,
                "form": {"question": text},
                "changes": {"allowed": 3, "rounds": [asked]},
            }
        ],
        "plan": {
            "version": 1,
            "planSha256": "0" * 64,
            "plan": plan,
            "complete": complete,
            "patches": [patch],
            "versions": [version],
        },
        "interactions": [{"createdAt": "now", "actor": text, "kind": "approved", "channel": "cli"}],
    }
    CommandOutput(as_json=False).print_result(view, lambda: formatting.gates(view))
    written = capsys.readouterr().out
    assert shows_only_data(written)
    assert written.count("\\") >= 8


@EVERY_ATTACK
def test_a_run_cannot_rewrite_its_own_history(text: str) -> None:
    event = dict.fromkeys(("at", "event", "person", "channel", "reason", "planSha256"), text)
    assert shows_only_data(formatting.history([event]).replace("\n", ""))
    assert len(formatting.history([event]).splitlines()) == 2


def test_a_name_with_line_breaks_does_not_break_a_table() -> None:
    assert len(formatting.table([("one\ntwo", "b"), ("c\td", "e")]).splitlines()) == 2


@EVERY_ATTACK
def test_the_output_of_a_command_cannot_control_the_terminal(text: str) -> None:
    assert shows_only_data(_prefixed((0, "stdout"), text))


@EVERY_ATTACK
def test_an_error_cannot_control_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(text, "code", FAILED, details=[{"pointer": f"/{text}", "message": text}])
    CommandOutput(as_json=False).print_failure(failure)
    assert shows_only_data(capsys.readouterr().err)


@EVERY_ATTACK
def test_a_json_document_is_safe_for_a_terminal_and_keeps_its_value(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_line(to_json_text({"goal": text}))
    written = capsys.readouterr().out
    assert shows_only_data(written)
    assert json.loads(written) == {"goal": text}


@given(st.text())
def test_every_text_survives_the_json_of_a_terminal(text: str) -> None:
    document = to_json_text([text])
    assert json.loads(document) == [text]
    assert shows_only_data(document)
