"""The processes of a running stack, by component: what labs kill and measurements weigh."""

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack

COMPONENTS = {
    "api": "sisu_pipeline.api.server",
    "daemon": "sisu_pipeline.engine.sensor_daemon",
    "code_server": "dagster api grpc",
    "webserver": "sisu_pipeline.dagster_web",
    "intent_worker": "--queue intentQ",
    "sandbox_worker": "--queue sbxQ",
}
WORKERS = ("intent_worker", "sandbox_worker")
_FOUND_WITHIN_S = 30.0


def component_of(pid: int) -> str | None:
    """The component a process belongs to, whatever stack's it is; None for every other process."""
    with suppress(psutil.Error):
        line = " ".join(psutil.Process(pid).cmdline())
        return next((name for name, mark in COMPONENTS.items() if mark in line), None)
    return None


def by_component(stack: LabStack) -> dict[str, list[psutil.Process]]:
    """Every process of each component, its main process first; Postgres is none of them."""
    groups: dict[str, list[psutil.Process]] = {name: [] for name in COMPONENTS}
    for child in psutil.Process(stack.pid).children():
        with suppress(psutil.Error):
            line = " ".join(child.cmdline())
            for name, mark in COMPONENTS.items():
                if mark in line:
                    groups[name] += [child, *child.children(recursive=True)]
    return groups


def of_home(home: Path) -> list[psutil.Process]:
    """Every living process of ours that has this data folder, whoever its parent is; Postgres is none of them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.environ().get("SISU_HOME") == str(home) and ("sisu_pipeline" in line or "dagster" in line):
                found.append(process)
    return found


def workers(stack: LabStack, component: str) -> list[psutil.Process]:
    """The processes that execute work: a worker group forks them, and forks another when one dies."""
    return by_component(stack)[component][1:]


def main_process(stack: LabStack, component: str) -> psutil.Process:
    """The main process of a component; waits for one that is just being started again. Raises LabFailed."""
    deadline = time.monotonic() + _FOUND_WITHIN_S
    while not (group := by_component(stack)[component]):
        if time.monotonic() > deadline:
            raise LabFailed(f"{component} does not run; read {stack.settings.logs}")
        time.sleep(0.05)
    return group[0]


def postmaster(stack: LabStack) -> psutil.Process:
    """The embedded server's main process. Raises LabFailed while it is down."""
    pid_file = stack.settings.home / "postgres" / "postmaster.pid"
    try:
        return psutil.Process(int(pid_file.read_text().split()[0]))
    except (OSError, IndexError, ValueError, psutil.Error) as error:
        raise LabFailed(f"Postgres is not running: {error}") from error


def postgres(stack: LabStack) -> list[psutil.Process]:
    """Every process of the embedded server; none while it is down."""
    with suppress(LabFailed, psutil.Error):
        main = postmaster(stack)
        return [main, *main.children(recursive=True)]
    return []


def kill(pid: int) -> bool:
    """SIGKILL to one process; False when it has ended already."""
    return send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> bool:
    """A signal to one process; False when it has ended already."""
    try:
        psutil.Process(pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_everything(stack: LabStack) -> int:
    """SIGKILL to every process of the stack, the supervisor first, Postgres apart; returns how many."""
    victims = [process for group in by_component(stack).values() for process in group]
    stack.kill()
    killed = 1 + sum(kill(process.pid) for process in victims)
    psutil.wait_procs(victims, timeout=10)
    Path(stack.settings.code_socket).unlink(missing_ok=True)
    return killed
