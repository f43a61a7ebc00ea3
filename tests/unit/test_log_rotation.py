"""Logs of the stack's programs do not grow for ever."""

import subprocess
import sys
from pathlib import Path

from sisu_pipeline.supervisor import child_processes


def test_a_log_that_has_grown_too_long_is_moved_aside_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    writes = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    command = [sys.executable, "-c", writes]
    with (
        child_processes.open_log(path) as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, text=True) as process,
    ):
        assert process.stdin is not None
        process.stdin.write("first\n" * 10)
        process.stdin.flush()
        while path.stat().st_size < 60:
            assert process.poll() is None
        child_processes.rotate_log(path, 60)
        assert not (tmp_path / "api.log.1").exists()
        child_processes.rotate_log(path, 59)
        process.stdin.write("second\n")
        process.stdin.close()
        assert process.wait(20) == 0
    assert (tmp_path / "api.log.1").read_text() == "first\n" * 10
    assert path.read_text() == "second\n"
    assert (tmp_path / "api.log.1").stat().st_mode & 0o777 == 0o600
    child_processes.rotate_log(tmp_path / "none.log")
