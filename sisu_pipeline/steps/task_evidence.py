"""The artifacts of one sandbox task."""

from base64 import b64decode
from typing import Any

from sisu_pipeline.contracts.sandbox_request import BINARY_URI, FileIn, FileOut, SandboxRequest, SandboxResult
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.identity import artifact_uri
from sisu_pipeline.steps.step_result import Artifact

# A constant, so that the index's hash is reproducible.
_CREATED_AT = "1970-01-01T00:00:00.000Z"


def task_artifacts(
    run_id: str, request: SandboxRequest, result: SandboxResult, attempt: int
) -> tuple[Artifact, ...]:
    """The index (idx 0) and, by uri, files, timings, raw, boot evidence, stdout and stderr."""
    raw = result.raw or {}
    entries = [
        *(("file", f"files/{file.path}", _content(file), file.sha256) for file in result.files_out),
        _json("timings", "metrics.json", result.metrics.to_json()),
        _json("raw", "raw.json", raw),
        _text("stderr", "stderr.log", result.stderr),
        _text("stdout", "stdout.log", result.stdout),
    ]
    if "template" in raw or "bootMs" in raw:
        entries.append(_json("json_diagnostic", "sbx-boot.json", _boot(request, raw)))
    key = request.task_key
    addressed = sorted(
        (
            (artifact_uri(run_id, StepId.EXECUTE, key, name), kind, inline, sha256)
            for kind, name, inline, sha256 in entries
        ),
        key=lambda entry: entry[0],
    )
    index = {
        "taskKey": key,
        "provider": raw.get("provider", ""),
        "items": [{"kind": kind, "uri": uri, "sha256": sha256} for uri, kind, _, sha256 in addressed],
        "rawRef": artifact_uri(run_id, StepId.EXECUTE, key, "raw.json"),
        "createdAt": _CREATED_AT,
    }
    first = (index_uri(run_id, key), "artifact_index", {"json": index}, sha256_json(index))
    return tuple(
        Artifact(StepId.EXECUTE, position, kind, uri, inline, sha256, key, attempt)
        for position, (uri, kind, inline, sha256) in enumerate([first, *addressed])
    )


def index_uri(run_id: str, key: str) -> str:
    """The address of a task's artifact index."""
    return artifact_uri(run_id, StepId.EXECUTE, key, "index.json")


def request_record(request: SandboxRequest) -> dict[str, Any]:
    """A request as stored: files by hash only, because the workspace's content is stored once."""
    record = request.to_json()
    record["filesIn"] = [_file_record(file) for file in request.files_in]
    return record


def _file_record(file: FileIn) -> dict[str, Any]:
    if file.uri is not None and file.uri.startswith(BINARY_URI):
        digest = sha256_hex(b64decode(file.uri.removeprefix(BINARY_URI)))
    elif file.inline is not None:
        digest = sha256_hex(file.inline)
    else:
        return file.to_json()
    mode = {} if file.mode is None else {"mode": file.mode}
    return {"path": file.path, "sha256": digest, **mode}


def _content(file: FileOut) -> dict[str, Any]:
    """The content of an output file: its text, or its bytes in base64."""
    if file.inline is None and file.uri is not None and file.uri.startswith("data:"):
        return {"base64": file.uri.partition(";base64,")[2]}
    return {"text": file.inline}


def _json(kind: str, name: str, value: Any) -> tuple[str, str, Any, str]:
    return kind, name, {"json": value}, sha256_json(value)


def _text(kind: str, name: str, text: str) -> tuple[str, str, Any, str]:
    return kind, name, {"text": text}, sha256_hex(text)


def _boot(request: SandboxRequest, raw: dict[str, Any]) -> dict[str, Any]:
    template = raw.get("template", {})
    boot = {
        "bootMs": raw.get("bootMs"),
        "source": template.get("source"),
        "templateId": request.template_id,
        "templateKey": request.template_key,
        "depsHash": request.deps_hash,
        "envRef": request.env_ref,
    }
    return {name: value for name, value in boot.items() if value is not None}
