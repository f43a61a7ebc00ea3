"""What every provider does the same. One that has no file system or no real commands says so below."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.mock_provider import MockSandbox
from resources.sandbox.sandbox_port import Chunk, ChunkSink, Sandbox, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, FileOut, SandboxResult
from sisu_pipeline.domain.canonical import sha256_hex
from tests.integration.sandbox.conftest import e2b_settings
from tests.unit.sandbox.requests import TASK_KEY, a_context, a_request, ignore


@dataclass(frozen=True)
class Subject:
    """A provider under test; `is_real` when it runs commands on a file system."""

    sandbox: Sandbox
    is_real: bool
    succeeds: str = "true"
    fails: str = "exit 3"

    def run(
        self, cmd: str, *, context: TaskContext | None = None, on_chunk: ChunkSink = ignore, **fields: Any
    ) -> SandboxResult:
        return asyncio.run(self.sandbox.run(a_request(cmd, **fields), context or a_context(), on_chunk))


@pytest.fixture(params=["mock", "local", "e2b"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "mock":
        yield Subject(MockSandbox(MemoryReceipts()), is_real=False, fails="FAIL_ME")
    elif request.param == "local":
        yield Subject(request.getfixturevalue("local"), is_real=True)
    else:
        server = request.getfixturevalue("e2b_server")
        yield Subject(E2bSandbox(e2b_settings(server)), is_real=True)
        assert server.state()["alive"] == 0


@pytest.fixture
def real(subject: Subject) -> Subject:
    if not subject.is_real:
        pytest.skip("this provider has no file system and runs no commands")
    return subject


def test_success_and_failure(subject: Subject) -> None:
    assert (subject.run(subject.succeeds).err_code, subject.run(subject.succeeds).exit) == (ErrorCode.NONE, 0)
    failed = subject.run(subject.fails)
    assert failed.err_code is ErrorCode.CMD_NONZERO
    assert failed.exit != 0


def test_raw_says_who_ran_it_where(subject: Subject) -> None:
    raw = subject.run(subject.succeeds, template_id="tpl", template_key="key", deps_hash="deps").raw
    assert raw is not None
    assert raw["provider"] == subject.sandbox.name
    assert raw["ctx"] == {"runId": "run_1", "stepId": "ExecuteST"}
    assert raw["template"] == {
        "source": "hot",
        "templateId": "tpl",
        "templateKey": "key",
        "depsHash": "deps",
        "envRef": "base",
    }
    assert isinstance(raw["bootMs"], int)


def test_the_task_key_comes_back(subject: Subject) -> None:
    assert subject.run(subject.succeeds, task_key="k" * 64).task_key == "k" * 64


def test_the_chunks_of_a_stream_are_that_stream(subject: Subject) -> None:
    chunks: list[Chunk] = []
    result = subject.run("echo out; echo err >&2; echo more", on_chunk=chunks.append)
    assert "".join(chunk.chunk for chunk in chunks if chunk.kind == "stdout") == result.stdout
    assert "".join(chunk.chunk for chunk in chunks if chunk.kind == "stderr") == result.stderr
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))


def test_timeout(subject: Subject) -> None:
    result = subject.run("sleep 60", timeout_ms=200)
    assert result.err_code is ErrorCode.TIMEOUT
    assert result.metrics.wall_ms >= 200


def test_an_escaping_path_is_refused_for_good(subject: Subject) -> None:
    result = subject.run(subject.succeeds, files_in=(FileIn(path="../x", inline=""),))
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 126)
    assert result.raw is not None
    assert result.raw["refused"]["code"] == "PATH_INVALID"


def test_kill_ends_a_run_with_a_result(subject: Subject) -> None:
    async def story() -> tuple[bool, SandboxResult]:
        run = asyncio.create_task(subject.sandbox.run(a_request("sleep 60"), a_context(), ignore))
        while not await subject.sandbox.kill(TASK_KEY):
            await asyncio.sleep(0.01)
        return True, await asyncio.wait_for(run, 10)

    killed, result = asyncio.run(story())
    assert killed
    assert (result.err_code, result.err_code.is_retryable) == (ErrorCode.CMD_NONZERO, False)
    assert result.raw is not None
    assert result.raw["killedBy"] == "request"


def test_cancelling_a_run_raises_and_leaves_nothing_to_adopt(subject: Subject) -> None:
    async def story() -> SandboxResult | None:
        run = asyncio.create_task(subject.sandbox.run(a_request("sleep 60"), a_context(), ignore))
        await asyncio.sleep(0.1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run, 10)
        return await subject.sandbox.adopt(TASK_KEY)

    assert asyncio.run(story()) is None


def test_two_requests_with_one_idempotency_key_give_one_result(subject: Subject) -> None:
    async def story() -> list[SandboxResult]:
        request, context = a_request("sleep 0.2"), a_context(idempotency_key=TASK_KEY)
        return await asyncio.gather(*(subject.sandbox.run(request, context, ignore) for _ in range(5)))

    first, *others = asyncio.run(story())
    assert first.err_code is ErrorCode.NONE
    assert others == [first] * 4


def test_health(subject: Subject) -> None:
    assert asyncio.run(subject.sandbox.health()).ok


def test_files_in_keep_their_mode_and_every_byte(real: Subject) -> None:
    files = (
        FileIn(path="bin/tool", inline="#!/bin/sh\nprintf ran\n", mode="100755"),
        FileIn(path="plain", inline="#!/bin/sh\n", mode="100644"),
        FileIn(path="data", uri="data:;base64,//4ACg=="),
    )
    result = real.run("bin/tool && test ! -x plain && test ! -x data && cp data copy", files_in=files)
    assert (result.err_code, result.stdout) == (ErrorCode.NONE, "ran"), result.stderr
    assert [file.sha256 for file in result.files_out] == [sha256_hex(b"\xff\xfe\0\n")]


def test_files_in_and_out(real: Subject) -> None:
    result = real.run(
        "cat data/in.txt; mkdir -p out; printf '{}' > out/report.json; printf changed > data/in.txt",
        files_in=(FileIn(path="data/in.txt", inline="grüße\n"), FileIn(path="kept", inline="")),
    )
    assert result.stdout == "grüße\n"
    assert [(file.path, file.inline) for file in result.files_out] == [
        ("data/in.txt", "changed"),
        ("out/report.json", "{}"),
    ]


def test_binary_goes_both_ways(real: Subject) -> None:
    uri = "data:application/octet-stream;base64,AP+A"
    result = real.run("cat in > out", files_in=(FileIn(path="in", uri=uri),))
    assert [(file.path, file.inline, file.uri) for file in result.files_out] == [("out", None, uri)]


def test_files_of_a_failed_command_return_too(real: Subject) -> None:
    result = real.run("echo why > report; exit 1")
    assert [file.path for file in result.files_out] == ["report"]


def test_environment_is_what_was_asked_for(real: Subject) -> None:
    result = real.run('printf %s "$GREETING|$HTTP_PROXY|$DATABASE_URL"', env={"GREETING": "a 'b' $c\nü"})
    assert result.stdout == "a 'b' $c\nü||"


def test_workdir_holds_the_files_and_the_outputs(real: Subject) -> None:
    result = real.run(
        "cat in; touch here ../there; pwd", workdir="sub/dir", files_in=(FileIn(path="in", inline="x"),)
    )
    assert result.stdout.startswith("x/")
    assert result.stdout.endswith("/sub/dir\n")
    assert [file.path for file in result.files_out] == ["here"]


@pytest.mark.parametrize("code", [1, 2, 77, 126, 127, 137, 255])
def test_exit_codes_are_the_commands_own(real: Subject, code: int) -> None:
    result = real.run(f"exit {code}")
    assert (result.exit, result.err_code) == (code, ErrorCode.CMD_NONZERO)


def test_a_log_that_speaks_of_failures_is_not_one(real: Subject) -> None:
    result = real.run("echo 'timeout: out of memory, network upload failed' >&2")
    assert result.err_code is ErrorCode.NONE
    result = real.run("echo 'timeout: out of memory, network upload failed' >&2; exit 1")
    assert result.err_code is ErrorCode.CMD_NONZERO


def test_a_command_that_does_not_exist_is_the_tasks_failure(real: Subject) -> None:
    result = real.run("no-such-command")
    assert (result.exit, result.err_code) == (127, ErrorCode.CMD_NONZERO)


def test_output_arrives_while_the_command_runs(real: Subject) -> None:
    async def story() -> bool:
        first = asyncio.Event()
        run = asyncio.create_task(
            real.sandbox.run(a_request("echo ready; exec sleep 60"), a_context(), lambda chunk: first.set())
        )
        await asyncio.wait_for(first.wait(), 10)
        await real.sandbox.kill(TASK_KEY)
        return (await run).stdout == "ready\n"

    assert asyncio.run(story())


def test_streams_keep_their_order(real: Subject) -> None:
    result = real.run("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
    assert result.stdout == "".join(f"line {number}\n" for number in range(2000))


def test_output_is_cut_with_a_note(real: Subject) -> None:
    result = real.run("head -c 3000000 /dev/zero | tr '\\0' x")
    assert result.err_code is ErrorCode.NONE
    assert result.stdout == "x" * 1_048_576 + "\n[stdout truncated after 1048576 bytes]\n"


def test_bytes_that_are_no_text_are_replaced(real: Subject) -> None:
    assert real.run("printf 'a\\000b\\377'").stdout == "a�b�"


def test_hostile_names_come_back_as_they_are(real: Subject) -> None:
    names = ["-rf", " ", "a\nb", "ü", "\\", "'\"", "\u202e", ".hidden", "a:b?c*"]
    result = real.run("true", files_in=tuple(FileIn(path=f"in/{name}", inline="") for name in names))
    assert result.err_code is ErrorCode.NONE
    result = real.run(
        'for f in in/*; do cp "$f" "out-${f#in/}"; done',
        files_in=tuple(FileIn(path=f"in/{name}", inline=name) for name in names if name != ".hidden"),
    )
    assert {file.path: file.inline for file in result.files_out} == {
        f"out-{name}": name for name in names if name != ".hidden"
    }


def test_links_and_fifos_are_not_outputs(real: Subject) -> None:
    result = real.run("ln -s /etc/passwd link; ln -s / root; mkfifo fifo; ln -s missing dangling; echo x > file")
    assert [file.path for file in result.files_out] == ["file"]


def test_python_tests_run_with_the_standard_library(real: Subject) -> None:
    passing = "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): self.assertTrue(True)\n"
    files = (
        FileIn(path="tests/test_good.py", inline=passing),
        FileIn(path="tests/test_bad.py", inline=passing.replace("assertTrue(True)", "assertTrue(False)")),
    )
    assert real.run("python3 -m unittest tests/test_good.py", files_in=files).err_code is ErrorCode.NONE
    failed = real.run("python3 -m unittest tests/test_bad.py", files_in=files)
    assert failed.err_code is ErrorCode.CMD_NONZERO
    assert "FAILED (failures=1)" in failed.stderr
    assert failed.files_out == ()


def test_equal_requests_leave_equal_files(real: Subject) -> None:
    def files() -> tuple[FileOut, ...]:
        return real.run("for n in c a b; do echo $n > $n; done").files_out

    assert files() == files()


def test_a_closed_provider_ran_nothing_after() -> None:
    async def story() -> SandboxResult:
        sandbox = MockSandbox(MemoryReceipts())
        run = asyncio.create_task(sandbox.run(a_request("sleep 60"), a_context(), ignore))
        await asyncio.sleep(0)
        await sandbox.close()
        return await run

    assert asyncio.run(story()).err_code is ErrorCode.CMD_NONZERO
