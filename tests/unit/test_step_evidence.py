"""What a task leaves: an index, then its artifacts by address, each with its hash."""

from typing import Any

from sisu_pipeline.contracts.sandbox_request import (
    ErrorCode,
    FileIn,
    FileOut,
    Metrics,
    SandboxRequest,
    SandboxResult,
)
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.steps.task_evidence import index_uri, request_record, task_artifacts

RUN = "run_42db556554a7e6f9ec58fc38b780e8f0"
KEY = "a" * 64
BASE = f"artifact://run/{RUN}/step/ExecuteST/task/{KEY}"


def a_request(*files: FileIn) -> SandboxRequest:
    return SandboxRequest(env_ref="local-node-24", cmd="pnpm test", timeout_ms=1, task_key=KEY, files_in=files)


def a_result(raw: dict[str, Any] | None, *files: FileOut) -> SandboxResult:
    return SandboxResult(
        exit=0,
        stdout="OK: pnpm test\n",
        stderr="",
        files_out=files,
        metrics=Metrics(wall_ms=1, cpu_ms=1, mem_peak_mb=1),
        sandbox_ref="mock-runner",
        err_code=ErrorCode.NONE,
        task_key=KEY,
        raw=raw,
    )


OUT = FileOut(path="out.json", sha256=sha256_hex("{}"), inline="{}")
RAW = {"provider": "mock", "bootMs": 50, "template": {"source": "cold"}}


def test_a_task_with_one_file_leaves_seven_artifacts_the_index_first_then_by_address() -> None:
    artifacts = task_artifacts(RUN, a_request(), a_result(RAW, OUT), attempt=2)
    assert [(artifact.idx, artifact.kind, artifact.uri) for artifact in artifacts] == [
        (0, "artifact_index", f"{BASE}/index.json"),
        (1, "file", f"{BASE}/files/out.json"),
        (2, "timings", f"{BASE}/metrics.json"),
        (3, "raw", f"{BASE}/raw.json"),
        (4, "json_diagnostic", f"{BASE}/sbx-boot.json"),
        (5, "stderr", f"{BASE}/stderr.log"),
        (6, "stdout", f"{BASE}/stdout.log"),
    ]
    assert {(artifact.task_key, artifact.attempt) for artifact in artifacts} == {(KEY, 2)}


def test_the_index_lists_every_other_artifact_with_its_hash_and_no_clock() -> None:
    index, *others = task_artifacts(RUN, a_request(), a_result(RAW, OUT), attempt=1)
    content = index.inline["json"]
    assert content["items"] == [
        {"kind": artifact.kind, "uri": artifact.uri, "sha256": artifact.sha256} for artifact in others
    ]
    assert content["createdAt"] == "1970-01-01T00:00:00.000Z"
    assert (content["taskKey"], content["provider"]) == (KEY, "mock")
    assert content["rawRef"] == f"{BASE}/raw.json"
    assert index.sha256 == sha256_json(content)
    assert index.uri == index_uri(RUN, KEY)


def test_texts_are_hashed_as_text_and_objects_as_canonical_json() -> None:
    hashes = {
        artifact.kind: artifact.sha256 for artifact in task_artifacts(RUN, a_request(), a_result(RAW, OUT), 1)
    }
    assert hashes["stdout"] == "cd543186659d76c783a7bd2564274162939743d0b7e0fc55340162ca8e3194b2"
    assert hashes["file"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert hashes["stderr"] == sha256_hex("")
    assert hashes["timings"] == sha256_json({"wallMs": 1, "cpuMs": 1, "memPeakMB": 1})
    assert hashes["raw"] == sha256_json(RAW)


def test_without_boot_evidence_there_is_no_diagnostic() -> None:
    kinds = [artifact.kind for artifact in task_artifacts(RUN, a_request(), a_result(None), 1)]
    assert kinds == ["artifact_index", "timings", "raw", "stderr", "stdout"]


def test_a_request_is_stored_with_its_files_hashes_not_their_text() -> None:
    binary = FileIn(path="c", uri="data:;base64,/wA=", mode="100755")
    record = request_record(a_request(FileIn(path="a", inline="x"), FileIn(path="b", uri="artifact://b"), binary))
    assert record["filesIn"] == [
        {"path": "a", "sha256": sha256_hex("x")},
        {"path": "b", "uri": "artifact://b"},
        {"path": "c", "sha256": sha256_hex(b"\xff\0"), "mode": "100755"},
    ]
