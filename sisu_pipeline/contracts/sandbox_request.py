"""The sandbox request and result."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from sisu_pipeline.contracts.base import Contract

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LONGEST_COMMAND = 120_000
"""Bytes of a task's command; Linux takes 128 KiB per argument."""
Mode = Literal["100644", "100755"]
"""The modes that git stores for files: plain and executable."""

BINARY_URI = "data:;base64,"
"""Start of the `uri` of a file whose content stands in it, in base64."""


class ErrorCode(StrEnum):
    """The outcome of a task. Infrastructure failures are retried; failures of the task itself are not."""

    NONE = "NONE"
    BOOT_FAIL = "BOOT_FAIL"
    CMD_NONZERO = "CMD_NONZERO"
    TIMEOUT = "TIMEOUT"
    OOM = "OOM"
    NET_FAIL = "NET_FAIL"
    UPLOAD_FAIL = "UPLOAD_FAIL"
    DOWNLOAD_FAIL = "DOWNLOAD_FAIL"

    @property
    def is_retryable(self) -> bool:
        """Whether the infrastructure failed, not the task: only that is retried."""
        return self in _INFRASTRUCTURE


_INFRASTRUCTURE = frozenset(
    {ErrorCode.BOOT_FAIL, ErrorCode.NET_FAIL, ErrorCode.UPLOAD_FAIL, ErrorCode.DOWNLOAD_FAIL}
)


class FileIn(Contract):
    """A file to place under the working directory before the command runs; `path` is relative to it.

    A file without a mode is plain.
    """

    path: str
    inline: str | None = None
    uri: str | None = None
    mode: Mode | None = None


class FileOut(Contract):
    """A file the command created or changed. `sha256` is the hash of its bytes, `inline` its text if UTF-8."""

    path: str
    sha256: Sha256
    inline: str | None = None
    uri: str | None = None


class Limits(Contract):
    """Limits of one task: `cpu` in cores, `mem_mb` in MiB."""

    cpu: float = 1
    mem_mb: int = Field(default=512, alias="memMB")


class Metrics(Contract):
    """Resources one task used: wall and CPU time in milliseconds, peak memory in MiB."""

    wall_ms: int
    cpu_ms: int
    mem_peak_mb: int = Field(alias="memPeakMB")


class SandboxRequest(Contract):
    """One command to run in one sandbox. `timeout_ms` bounds the command.

    `tree` names the files of a repository that the command finds in its working folder, instead of `files_in`.
    `setup` is the hash of the planned setup whose result the command finds there too.
    """

    env_ref: str
    cmd: str
    files_in: tuple[FileIn, ...] = ()
    tree: Sha256 | None = None
    setup: Sha256 | None = None
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    timeout_ms: int = Field(gt=0)
    limits: Limits = Limits()
    net: bool = False
    task_key: str
    template_id: str | None = None
    template_key: str | None = None
    deps_hash: str | None = None
    workdir: str | None = None


class SandboxResult(Contract):
    """The result of one command. `raw` is the provider's own evidence."""

    exit: int
    stdout: str
    stderr: str
    files_out: tuple[FileOut, ...] = ()
    metrics: Metrics
    sandbox_ref: str
    err_code: ErrorCode
    task_key: str
    artifact_index_ref: str | None = None
    raw: dict[str, Any] | None = None
