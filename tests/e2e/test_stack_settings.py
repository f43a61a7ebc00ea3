"""Reports are about the running stack's settings, whatever the environment of the shell is."""

import pytest

from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.conftest import run_sisu

OTHER = {"SBX_MODE": "live", "SBX_PROVIDER": "e2b", "E2B_API_KEY": "hush-hush", "PORT": "1", "SISU_TOKEN": "mine"}


@pytest.fixture(scope="module")
def shell(stack: LabStack) -> dict[str, str]:
    """The environment of a shell that knows only the stack's data folder, and has other settings."""
    return {**stack.environment, **OTHER}


def test_doctor_examines_the_stack_and_lists_what_differs_in_the_shell(
    stack: LabStack, shell: dict[str, str]
) -> None:
    found = run_sisu(shell, "doctor", "--json")
    document = found.document
    assert (found.status, document["ok"]) == (0, True), document["checks"]
    assert document["settings"]["SBX_MODE"] == "mock"
    assert document["settings"]["PORT"] == stack.settings.port
    assert document["settingsOf"] == f"settings of the stack on {stack.settings.home}, process {stack.pid}"
    differences = {each["variable"]: (each["shell"], each["stack"]) for each in document["differences"]}
    assert differences == {
        "SBX_MODE": ("live", "mock"),
        "SBX_PROVIDER": ("e2b", "local"),
        "E2B_API_KEY": ("**********", None),
        "PORT": (1, stack.settings.port),
    }
    assert "hush-hush" not in found.stdout


def test_doctor_prints_the_differences_as_a_table(stack: LabStack, shell: dict[str, str]) -> None:
    for arguments in (["doctor"], ["doctor", "--settings"]):
        lines = run_sisu(shell, *arguments).stdout.splitlines()
        assert "this shell has other settings; those of the stack were reported:" in lines
        assert ["PORT", "1", str(stack.settings.port)] in [line.split() for line in lines]


def test_a_shell_with_the_stacks_settings_has_no_differences(stack: LabStack) -> None:
    document = run_sisu(stack.environment, "doctor", "--json").document
    assert (document["differences"], document["settings"]["SISU_HOME"]) == ([], str(stack.settings.home))


def test_other_reports_use_the_stacks_settings(stack: LabStack, shell: dict[str, str]) -> None:
    assert f"export PORT={stack.settings.port}" in run_sisu(shell, "env").stdout.splitlines()
    assert run_sisu(shell, "oracle").status == 0
    assert (
        "no receivers are configured"
        in run_sisu({**shell, "SISU_NOTIFICATIONS": "receivers.json"}, "notification", "test").stderr
    )
