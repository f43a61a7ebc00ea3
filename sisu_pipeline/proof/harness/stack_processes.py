"""The processes of a running stack by component: find, signal and kill them."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack

COMPONENTS = {
    "api": "sisu_pipeline.api.server",
    "daemon": "sisu_pipeline.engine.sensor_daemon",
    "code_server": "sisu_pipeline.supervisor.code_server",
    "webserver": "sisu_pipeline.dagster_web",
    "intent_worker": "--queue intentQ",
    "sandbox_worker": "--queue sbxQ",
    "planner_worker": "--queue compileQ",
}
"""Text in the command line of a component's main process."""
_RELAY = "box_relay.py"
_SPAWN_HELPER = "spawn_helper.py"
_START_TIMEOUT_S = 30.0


def component_of(pid: int) -> str | None:
    """The component a process belongs to, in any stack; None for other processes."""
    with suppress(psutil.Error):
        line = " ".join(psutil.Process(pid).cmdline())
        return next((name for name, mark in COMPONENTS.items() if mark in line), None)
    return None


def by_component(stack: LabStack) -> dict[str, list[psutil.Process]]:
    """The processes of each component, its main process first; without Postgres."""
    groups: dict[str, list[psutil.Process]] = {name: [] for name in COMPONENTS}
    for child in psutil.Process(stack.pid).children():
        with suppress(psutil.Error):
            line = " ".join(child.cmdline())
            for name, mark in COMPONENTS.items():
                if mark in line:
                    groups[name] += [child, *child.children(recursive=True)]
    return groups


def of_home(home: Path) -> list[psutil.Process]:
    """All processes with this data folder, orphans included; without Postgres."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.environ().get("SISU_HOME") == str(home) and ("sisu_pipeline" in line or "dagster" in line):
                found.append(process)
    return found


def workers(stack: LabStack, component: str) -> list[psutil.Process]:
    """The forked processes of a worker group; the group replaces one that dies."""
    mark = COMPONENTS[component]
    return [process for process in by_component(stack)[component][1:] if mark in " ".join(_arguments(process))]


def spawners(stack: LabStack) -> list[psutil.Process]:
    """The processes that start the sandboxes of agents."""
    return _below_planners(stack, lambda words: any(word.endswith(_SPAWN_HELPER) for word in words))


def relays(stack: LabStack) -> list[psutil.Process]:
    """The relays inside the sandboxes of agents: to the model and to the tool."""
    return _below_planners(stack, lambda words: any(word.endswith(_RELAY) for word in words))


def agents(stack: LabStack, program: Path) -> list[psutil.Process]:
    """The processes inside sandboxes whose first argument is the agent's program."""
    return _below_planners(stack, lambda words: words[1:2] == [str(program)])


def of_path(folder: Path) -> list[psutil.Process]:
    """All processes with this data folder, or with a path below it on their command line; orphans included."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SISU_HOME") == str(folder) or f"{folder}/" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _below_planners(stack: LabStack, matches: Callable[[list[str]], bool]) -> list[psutil.Process]:
    return [process for process in by_component(stack)["planner_worker"] if matches(_arguments(process))]


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def main_process(stack: LabStack, component: str) -> psutil.Process:
    """The main process of a component; waits while it restarts. Raises LabFailed after 30 seconds."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (group := by_component(stack)[component]):
        if time.monotonic() > deadline:
            raise LabFailed(
                f"{component} is not running after {_START_TIMEOUT_S:.0f} s; logs: {stack.settings.logs}"
            )
        time.sleep(0.05)
    return group[0]


def postmaster(stack: LabStack) -> psutil.Process:
    """The main process of the embedded server. Raises LabFailed while it is down."""
    pid_file = stack.settings.home / "postgres" / "postmaster.pid"
    try:
        return psutil.Process(int(pid_file.read_text().split()[0]))
    except (OSError, IndexError, ValueError, psutil.Error) as error:
        raise LabFailed(f"Postgres is not running: {error}") from error


def postgres(stack: LabStack) -> list[psutil.Process]:
    """All processes of the embedded server; empty while it is down."""
    with suppress(LabFailed, psutil.Error):
        main = postmaster(stack)
        return [main, *main.children(recursive=True)]
    return []


def kill(pid: int) -> bool:
    """Send SIGKILL; False when the process has already exited."""
    return send_signal(pid, signal.SIGKILL)


def send_signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when the process has already exited."""
    try:
        psutil.Process(pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def stop_postgres_immediately(stack: LabStack) -> psutil.Process:
    """Send what `pg_ctl stop -m immediate` sends; returns the postmaster. Raises LabFailed while it is down."""
    server = postmaster(stack)
    send_signal(server.pid, signal.SIGQUIT)
    return server


def kill_everything(stack: LabStack) -> int:
    """SIGKILL every process of the stack except Postgres, the supervisor first; returns the number killed."""
    victims = [process for group in by_component(stack).values() for process in group]
    stack.kill()
    killed = 1 + sum(kill(process.pid) for process in victims)
    psutil.wait_procs(victims, timeout=10)
    Path(stack.settings.code_socket).unlink(missing_ok=True)
    return killed
