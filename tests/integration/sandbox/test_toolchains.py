"""Common toolchains work under the system call filter alone: the file view of a sandbox depends on the machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resources.sandbox.local.isolation.bwrap import find_bwrap
from resources.sandbox.local.isolation.seccomp import filter_program

_C = '#include <stdio.h>\n#include <pthread.h>\nint main(void){ puts("built"); return 0; }\n'
_RUST = 'fn main() { std::thread::spawn(|| println!("built")).join().unwrap(); }\n'
_GO = """package main

import "fmt"

func main() {
	done := make(chan int)
	go func() { fmt.Println("built"); done <- 1 }()
	<-done
}
"""
_NODE = """
const { Worker } = require('worker_threads');
new Worker("require('fs').writeFileSync('x', 'y'); console.log('built')", { eval: true });
require('child_process').execSync('true');
"""
_PYTHON = """
import asyncio, multiprocessing, sqlite3
semaphore = multiprocessing.Semaphore(0)
child = multiprocessing.Process(target=semaphore.release)
child.start()
semaphore.acquire()
child.join()
async def run():
    return await (await asyncio.create_subprocess_exec('true')).wait()
assert asyncio.run(run()) == 0
sqlite3.connect('x.db').execute('CREATE TABLE t (a)')
print('built')
"""
TOOLCHAINS = {
    "python3": ({"main.py": _PYTHON}, "python3 main.py"),
    "node": ({"main.js": _NODE}, "node main.js"),
    "gcc": ({"main.c": _C}, "gcc -O2 -pthread main.c -o main && ./main"),
    "git": (
        {"file": "content\n"},
        "git init -q . && git add file && git -c user.name=a -c user.email=a@b commit -q -m first && git gc -q"
        " && git clone -q . copy && git -C copy fsck --full && echo built",
    ),
    "cargo": (
        {"src/main.rs": _RUST, "Cargo.toml": '[package]\nname = "main"\nversion = "0.1.0"\nedition = "2021"\n'},
        "cargo run --quiet --offline",
    ),
    "go": ({"main.go": _GO, "go.mod": "module main\n"}, "go run ."),
    "make": ({"Makefile": "all: a b\na b:\n\t@sleep 0\n"}, "make -s -j4 && echo built"),
}


@pytest.mark.parametrize("tool", TOOLCHAINS)
def test_a_toolchain_works_under_the_filter(tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed here")
    files, command = TOOLCHAINS[tool]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    done = _filtered(command, tmp_path)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["built"]), done.stderr


def test_the_filter_of_this_test_is_on(tmp_path: Path) -> None:
    """System V semaphores exist everywhere, except under the filter."""
    attempt = "import ctypes; print(ctypes.CDLL(None, use_errno=True).semget(0, 1, 0o600), ctypes.get_errno())"
    assert _filtered(f'{sys.executable} -c "{attempt}"', tmp_path).stdout.split() == ["-1", "38"]


def _filtered(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell command under the filter, with the machine's own files."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as program:
        program.write(filter_program())
    environment = os.environ | {"HOME": os.environ.get("HOME", "/root"), "GOCACHE": str(folder / "go-cache")}
    try:
        return subprocess.run(
            [find_bwrap().path, "--dev-bind", "/", "/", "--seccomp", str(reader), "--", "sh", "-c", command],
            cwd=folder,
            env=environment,
            pass_fds=(reader,),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(reader)
