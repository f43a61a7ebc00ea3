"""How the supervisor of `sisu start` takes signals."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sisu_pipeline.settings import load_settings
from sisu_pipeline.supervisor.stack import Stack

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def deaf() -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not stop when it is asked to."""
    command = [sys.executable, "-c", _DEAF]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def stack(deaf: subprocess.Popen[bytes]) -> Stack:
    """A stack that runs this program alone."""
    return Stack(load_settings({}), intent_workers=1, report=lambda line: None, running={"deaf": deaf})


def test_a_second_ctrl_c_kills_what_does_not_stop(stack: Stack, deaf: subprocess.Popen[bytes]) -> None:
    stack._ask_to_stop(signal.SIGINT, None)
    assert stack._asked_to_stop is not None
    stack._asked_to_stop -= 2
    stack._ask_to_stop(signal.SIGINT, None)
    assert deaf.wait(5) == -signal.SIGKILL


def test_one_ctrl_c_that_arrives_twice_is_one(stack: Stack, deaf: subprocess.Popen[bytes]) -> None:
    """Make and mise pass on the signal that the terminal has sent already."""
    stack._ask_to_stop(signal.SIGINT, None)
    stack._ask_to_stop(signal.SIGINT, None)
    assert stack.stopping
    assert deaf.poll() is None
