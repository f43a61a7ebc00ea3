"""How the supervisor of `sisu start` handles signals."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sisu_pipeline.settings import load_settings
from sisu_pipeline.supervisor.stack import Stack

_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A program that ignores SIGTERM."""
    command = [sys.executable, "-c", _STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def stack(stubborn: subprocess.Popen[bytes]) -> Stack:
    """A stack that runs this program alone."""
    return Stack(load_settings({}), intent_workers=1, report=lambda line: None, running={"stubborn": stubborn})


def test_a_second_ctrl_c_kills_a_program_that_ignores_it(stack: Stack, stubborn: subprocess.Popen[bytes]) -> None:
    stack._request_stop(signal.SIGINT, None)
    assert stack._stop_requested_at is not None
    stack._stop_requested_at -= 2
    stack._request_stop(signal.SIGINT, None)
    assert stubborn.wait(5) == -signal.SIGKILL


def test_one_ctrl_c_that_arrives_twice_counts_once(stack: Stack, stubborn: subprocess.Popen[bytes]) -> None:
    """Make and mise pass on the signal that the terminal has sent already."""
    stack._request_stop(signal.SIGINT, None)
    stack._request_stop(signal.SIGINT, None)
    assert stack.stopping
    assert stubborn.poll() is None
