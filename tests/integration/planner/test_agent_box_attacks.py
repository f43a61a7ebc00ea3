"""Programs that attack the machine from inside an agent's sandbox. None may succeed, and nothing may be left."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.box.agent_box import AgentBoxes
from resources.planner.acp.box.agent_process import AgentProcess
from resources.sandbox.local.self_test import probe_request
from tests.integration.planner.conftest import model_settings
from tests.integration.sandbox.conftest import eventually, processes_with
from tests.support import sandbox_attacks
from tests.support.acp.scripted_model import KEY, ScriptedModel
from tests.support.sandbox_attacks import ATTACKS, DETACHED, DISK, MEMORY, PROCESSES, Target, files_of

_LONGEST_S = 60
_AGENT = ("sh", "agent.sh")


@pytest.fixture
def target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """What the attacks try to reach. The secret is the model's key, which is also a variable of this process."""
    monkeypatch.setenv("OC_API_KEY", KEY)
    with sandbox_attacks.listening_target(os.getpid(), folder / "secret", KEY) as target:
        yield target


@pytest.fixture
def nothing_left(folder: Path) -> Iterator[None]:
    """After the test: no folder, no socket and no process of the sandbox."""
    yield
    assert list((folder / "agents" / "boxes").iterdir()) == []
    assert eventually(lambda: not processes_with("314.159"))


def run_agent(
    folder: Path, model: ScriptedModel, files: dict[str, str], command: str, **settings: Any
) -> tuple[str, AgentProcess]:
    """Run a shell command as the agent until it ends; returns what it printed, and its process."""
    boxes = AgentBoxes.open(
        AgentSettings(argv=_AGENT, home=folder / "agents", model=model_settings(model), **settings)
    )

    async def run() -> tuple[str, AgentProcess]:
        async with boxes.prepare("key") as box:
            for name, text in {**files, "agent.sh": command}.items():
                (box.folders.work / name).write_text(text)
            boxes.give(box)
            async with boxes.start(box) as (process, reader, _):
                printed = await asyncio.wait_for(reader.read(), _LONGEST_S)
        return printed.decode(), process

    try:
        return asyncio.run(run())
    finally:
        boxes.close()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_from_an_agents_sandbox_fails(
    folder: Path, model: ScriptedModel, target: Target, attack: str
) -> None:
    files = files_of(ATTACKS[attack], target)
    printed, process = run_agent(folder, model, files, f"{sandbox_attacks.COMMAND} 2>&1; echo ended $?")
    assert printed == "ended 0\n", process.stderr


@pytest.mark.usefixtures("nothing_left")
def test_an_agent_sees_its_home_and_its_sockets_beside_what_a_task_sees(folder: Path, model: ScriptedModel) -> None:
    boxes = AgentBoxes.open(AgentSettings(argv=_AGENT, home=folder / "agents", model=model_settings(model)))
    request = probe_request(boxes._host)
    boxes.close()
    files = {file.path: file.inline or "" for file in request.files_in}
    command = request.cmd.replace(f" {boxes._host.settings.most_processes}", " 1024")
    look = f"find /home /run | sort; {command}; echo; env | grep -i key"
    printed, _ = run_agent(folder, model, files, look)
    *seen, problems, key = printed.splitlines()
    assert seen == [
        *("/home", "/home/agent", "/home/agent/tmp"),
        *("/run", "/run/sisu", "/run/sisu/model.sock", "/run/sisu/plan.sock"),
    ]
    assert key == "OPENAI_API_KEY=added-outside"
    variables = "NPM_CONFIG_OFFLINE, OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL"
    assert problems == (
        f'["/home of the host can be seen", "/run of the host can be seen", "the environment holds {variables}"]'
    )


@pytest.mark.usefixtures("nothing_left")
def test_what_an_agent_leaves_running_ends_with_it(folder: Path, model: ScriptedModel, target: Target) -> None:
    command = f"{sandbox_attacks.COMMAND} >/dev/null & while ! grep -q 314.159 /proc/*/cmdline; do :; done; echo up"
    printed, _ = run_agent(folder, model, files_of(DETACHED, target), command)
    assert printed == "up\n"
    assert processes_with("314.159") == []


@pytest.mark.usefixtures("nothing_left")
def test_an_agent_that_is_ended_leaves_no_process(folder: Path, model: ScriptedModel, target: Target) -> None:
    boxes = AgentBoxes.open(AgentSettings(argv=_AGENT, home=folder / "agents", model=model_settings(model)))

    async def story() -> None:
        async with boxes.prepare("key") as box:
            for name, text in {
                **files_of(DETACHED, target),
                "agent.sh": f"{sandbox_attacks.COMMAND} & wait",
            }.items():
                (box.folders.work / name).write_text(text)
            boxes.give(box)
            async with boxes.start(box):
                while len(processes_with("314.159")) < 3:
                    await asyncio.sleep(0.01)

    try:
        asyncio.run(asyncio.wait_for(story(), _LONGEST_S))
        assert processes_with("314.159") == []
    finally:
        boxes.close()


@pytest.mark.usefixtures("nothing_left")
def test_an_agent_that_takes_too_much_memory_is_killed(folder: Path, model: ScriptedModel, target: Target) -> None:
    _, process = run_agent(folder, model, files_of(MEMORY, target), sandbox_attacks.COMMAND, memory_mb=128)
    assert process.is_out_of_memory
    assert process.peak_mb > 128


@pytest.mark.usefixtures("nothing_left")
def test_an_agent_that_fills_the_disk_is_killed(folder: Path, model: ScriptedModel, target: Target) -> None:
    _, process = run_agent(folder, model, files_of(DISK, target), sandbox_attacks.COMMAND, disk_mb=64)
    assert process.is_out_of_disk
    assert not process.is_out_of_memory


@pytest.mark.usefixtures("nothing_left")
def test_the_processes_of_an_agent_are_bounded(folder: Path, model: ScriptedModel, target: Target) -> None:
    printed, _ = run_agent(folder, model, files_of(PROCESSES, target), sandbox_attacks.COMMAND, memory_mb=8192)
    assert 900 <= int(printed) <= 1024
