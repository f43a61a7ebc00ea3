"""The e2b provider when things go wrong: on a server that speaks E2B's protocol to the unmodified SDK."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from resources.sandbox.e2b import provider_retry
from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.sandbox_port import Chunk, ChunkSink, TaskContext, TaskRef
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, SandboxResult
from tests.integration.sandbox.conftest import e2b_settings, eventually
from tests.support.e2b.client import ROOT, E2bServer
from tests.unit.sandbox.requests import TASK_KEY, a_context, a_request, ignore

KEYED = a_context(idempotency_key=TASK_KEY)

RunE2b = Callable[..., SandboxResult]


@pytest.fixture
def run_e2b(e2b_server: E2bServer) -> RunE2b:
    """Run a command to its end in a provider of its own."""

    def run(
        cmd: str, *, context: TaskContext = KEYED, on_chunk: ChunkSink = ignore, knobs: Any = None, **fields: Any
    ) -> SandboxResult:
        async def story() -> SandboxResult:
            sandbox = E2bSandbox(e2b_settings(e2b_server, **(knobs or {})))
            result = await sandbox.run(a_request(cmd, **fields), context, on_chunk)
            await sandbox.close()
            return result

        return asyncio.run(story())

    return run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file the commands of a test write a line to: how often they were really executed."""
    return tmp_path / "ledger"


def counted(ledger: Path, then: str = "true") -> str:
    """A command that leaves a line in the ledger first."""
    return f"echo executed >> {ledger}; {then}"


def executions(ledger: Path) -> int:
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def raw(result: SandboxResult) -> dict[str, Any]:
    assert result.raw is not None
    return result.raw


def test_a_sandbox_is_asked_for_as_the_task_says(e2b_server: E2bServer) -> None:
    async def story() -> dict[str, Any]:
        sandbox = E2bSandbox(e2b_settings(e2b_server))
        run = asyncio.create_task(
            sandbox.run(a_request("sleep 60", template_id="tpl_hot", net=True), KEYED, ignore)
        )
        while not (state := await asyncio.to_thread(e2b_server.state))["alive"]:
            await asyncio.sleep(0.01)
        await sandbox.close()
        await run
        return state

    state = asyncio.run(story())
    assert (state["templates"], state["internet"]) == (["tpl_hot"], [True])
    (metadata,) = state["metadata"]
    assert (metadata["sisu_task"], metadata["sisu_run"], metadata["sisu_attempt"]) == (TASK_KEY, "run_1", "1")
    assert e2b_server.state()["alive"] == 0


def test_refusals_by_quota_are_waited_out_and_fail_nothing(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    e2b_server.set(next_creates_429=3)
    result = run_e2b("true")
    assert result.err_code is ErrorCode.NONE
    assert raw(result)["sandbox"]["creates"] == 4


@pytest.mark.parametrize("status", ["500", "503"])
def test_e2bs_own_trouble_is_tried_again(run_e2b: RunE2b, e2b_server: E2bServer, status: str) -> None:
    e2b_server.set(**{f"next_creates_{status}": 2})
    assert run_e2b("true").err_code is ErrorCode.NONE
    assert e2b_server.state()["counts"]["created"] == 1


def test_lasting_trouble_is_a_failure_that_is_tried_again(
    run_e2b: RunE2b, e2b_server: E2bServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.sandbox.e2b.sandbox_start.PAUSES_S", (0.0,))
    e2b_server.set(next_creates_503=5)
    result = run_e2b("true")
    assert (result.err_code, raw(result)["lost"]) == (ErrorCode.BOOT_FAIL, {"phase": "boot", "cause": "busy"})


def test_a_server_that_is_not_there_is_a_network_failure(run_e2b: RunE2b, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.sandbox.e2b.sandbox_start.PAUSES_S", ())
    monkeypatch.setattr(provider_retry, "PAUSES_S", ())
    result = run_e2b("true", knobs={"api_url": "http://127.0.0.1:9", "sandbox_url": "http://127.0.0.1:9"})
    assert (result.err_code, raw(result)["lost"]["cause"]) == (ErrorCode.NET_FAIL, "offline")


def test_a_wrong_key_is_said_and_is_no_failure_of_the_task(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    result = run_e2b("true", knobs={"api_key": "e2b_wrong"})
    assert (result.err_code, raw(result)["lost"]["cause"]) == (ErrorCode.BOOT_FAIL, "denied")
    health = asyncio.run(E2bSandbox(e2b_settings(e2b_server, api_key="e2b_wrong")).health())
    assert (health.ok, health.detail["cause"]) == (False, "denied")


def test_a_template_that_does_not_exist_is_refused_for_good(run_e2b: RunE2b) -> None:
    result = run_e2b("true", template_id="missing")
    assert (result.err_code, raw(result)["refused"]["code"]) == (ErrorCode.CMD_NONZERO, "TEMPLATE_REFUSED")


def test_a_slow_create_is_evidence(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    e2b_server.set(slow_create_s=0.3)
    result = run_e2b("true")
    assert result.err_code is ErrorCode.NONE
    assert raw(result)["bootMs"] >= 300


@pytest.mark.parametrize("honours_idempotency", [True, False])
def test_a_lost_reply_to_create_makes_no_second_sandbox(
    run_e2b: RunE2b, e2b_server: E2bServer, ledger: Path, honours_idempotency: bool
) -> None:
    e2b_server.set(lose_create_reply_every=1, honours_idempotency=honours_idempotency)
    result = run_e2b(counted(ledger))
    state = e2b_server.state()
    assert result.err_code is ErrorCode.NONE
    assert (state["counts"]["created"], state["alive"], executions(ledger)) == (1, 0, 1)
    assert raw(result)["sandbox"]["how"] == "recovered"


def test_a_lost_reply_to_start_makes_no_second_execution(
    run_e2b: RunE2b, e2b_server: E2bServer, ledger: Path
) -> None:
    e2b_server.set(lose_start_reply_every=1)
    result = run_e2b(counted(ledger, "sleep 0.3; echo done"))
    assert (result.err_code, result.stdout, executions(ledger)) == (ErrorCode.NONE, "done\n", 1)


def test_a_stream_that_breaks_loses_nothing(run_e2b: RunE2b, e2b_server: E2bServer, ledger: Path) -> None:
    e2b_server.set(half_stream_every=1)
    chunks: list[Chunk] = []
    command = counted(ledger, "echo one; sleep 0.3; echo two; echo three >&2; exit 3")
    result = run_e2b(command, on_chunk=chunks.append)
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 3)
    assert (result.stdout, result.stderr, executions(ledger)) == ("one\ntwo\n", "three\n", 1)
    assert "".join(chunk.chunk for chunk in chunks if chunk.kind == "stdout") == result.stdout
    assert e2b_server.state()["counts"]["streams_cut"] == 1


@pytest.mark.parametrize("fault", ["vanish_every", "hang_every"])
def test_a_sandbox_that_vanishes_is_the_providers_failure(
    run_e2b: RunE2b, e2b_server: E2bServer, fault: str
) -> None:
    e2b_server.set(**{fault: 1})
    result = run_e2b("echo begun; sleep 60")
    assert (result.err_code, raw(result)["lost"]) == (ErrorCode.BOOT_FAIL, {"phase": "command", "cause": "gone"})
    assert e2b_server.state()["alive"] == 0


def test_transfers_are_tried_again(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    e2b_server.set(next_uploads_500=1)
    result = run_e2b("cat in > out", files_in=(FileIn(path="in", inline="x"),))
    assert [file.inline for file in result.files_out] == ["x"]


def test_an_upload_that_never_works_is_an_upload_failure(
    run_e2b: RunE2b, e2b_server: E2bServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_retry, "PAUSES_S", (0.0,))
    e2b_server.set(next_uploads_500=100)
    assert run_e2b("true").err_code is ErrorCode.UPLOAD_FAIL
    assert e2b_server.state()["alive"] == 0


def test_an_earlier_attempts_sandbox_is_killed_not_adopted(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    leave_behind(e2b_server, [TASK_KEY], "sleep 60")
    result = run_e2b("echo again", context=a_context(attempt=2, idempotency_key=TASK_KEY))
    assert (result.stdout, raw(result)["sandbox"]["how"]) == ("again\n", "created")
    assert e2b_server.state()["alive"] == 0


def test_a_task_that_runs_with_another_request_is_refused(run_e2b: RunE2b, e2b_server: E2bServer) -> None:
    leave_behind(e2b_server, [TASK_KEY], "sleep 60")
    result = run_e2b("echo other")
    assert raw(result)["refused"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_a_command_that_ended_while_nobody_listened_is_adopted_with_its_files(
    run_e2b: RunE2b, e2b_server: E2bServer, ledger: Path
) -> None:
    command = counted(ledger, "echo said; echo kept > file; exit 4")
    leave_behind(e2b_server, [TASK_KEY], command, until=lambda: executions(ledger) == 1)
    result = run_e2b(command)
    assert (result.exit, result.stdout, executions(ledger)) == (4, "said\n", 1)
    assert [(file.path, file.inline) for file in result.files_out] == [("file", "kept\n")]
    assert raw(result)["sandbox"]["how"] == "adopted"


def test_time_goes_on_for_an_adopted_command(run_e2b: RunE2b, e2b_server: E2bServer, ledger: Path) -> None:
    command = counted(ledger, "sleep 60")
    leave_behind(e2b_server, [TASK_KEY], command, until=lambda: executions(ledger) == 1, timeout_ms=1500)
    result = run_e2b(command, timeout_ms=1500)
    assert (result.err_code, executions(ledger)) == (ErrorCode.TIMEOUT, 1)
    assert result.metrics.wall_ms < 1500


@pytest.mark.slow
def test_fifty_tasks_of_a_killed_worker_are_adopted_not_restarted(e2b_server: E2bServer, ledger: Path) -> None:
    keys = [f"{number:064x}" for number in range(50)]
    command = counted(ledger, "sleep 2; echo done")
    leave_behind(e2b_server, keys, command, until=lambda: executions(ledger) == 50)

    async def story() -> list[SandboxResult]:
        sandbox = E2bSandbox(e2b_settings(e2b_server))
        runs = (
            sandbox.run(a_request(command, task_key=key), a_context(idempotency_key=key), ignore) for key in keys
        )
        return await asyncio.gather(*runs)

    results = asyncio.run(story())
    assert {(result.err_code, result.stdout) for result in results} == {(ErrorCode.NONE, "done\n")}
    assert {raw(result)["sandbox"]["how"] for result in results} == {"adopted"}
    state = e2b_server.state()
    assert (state["counts"]["created"], state["alive"], executions(ledger)) == (50, 0, 50)


def test_the_sweeper_kills_what_nobody_wants_and_nothing_else(e2b_server: E2bServer) -> None:
    wanted, unwanted, foreign = "a" * 64, "b" * 64, "c" * 64
    leave_behind(e2b_server, [wanted, unwanted], "sleep 60")
    leave_behind(e2b_server, [foreign], "sleep 60", alive=3, deployment="another")

    async def still_wanted(tasks: Collection[TaskRef]) -> Collection[TaskRef]:
        return set(tasks) - {("run_1", unwanted)}

    async def story() -> int:
        return await E2bSandbox(e2b_settings(e2b_server), wanted=still_wanted).sweeper.sweep()

    assert asyncio.run(story()) == 1
    assert {box["sisu_task"] for box in e2b_server.state()["metadata"]} == {wanted, foreign}


def test_kill_reaches_another_processs_sandbox(e2b_server: E2bServer) -> None:
    leave_behind(e2b_server, [TASK_KEY], "sleep 60")
    assert asyncio.run(E2bSandbox(e2b_settings(e2b_server)).kill(TASK_KEY))
    assert e2b_server.state()["alive"] == 0


def leave_behind(
    server: E2bServer,
    keys: list[str],
    command: str,
    *,
    until: Callable[[], bool] | None = None,
    alive: int | None = None,
    **others: Any,
) -> None:
    """Start tasks in a worker process and kill it with SIGKILL once they run (`until`, or their sandboxes live)."""
    alive = len(keys) if alive is None else alive
    story = {"url": server.url, "keys": keys, "command": command, **others}
    worker = subprocess.Popen([sys.executable, "-m", "tests.support.e2b.worker", json.dumps(story)], cwd=ROOT)
    try:
        assert eventually(until or (lambda: server.state()["counts"].get("starts", 0) >= alive), 30)
    finally:
        worker.kill()
        worker.wait()
