"""What the SDK's errors mean: by type and status, with the overlapping classes in their order."""

import e2b
import httpx
import pytest

from resources.sandbox.e2b.provider_errors import Cause, Failed, Phase, cause_of
from sisu_pipeline.contracts.sandbox_request import ErrorCode

RESET = "timed out: connection reset, upload failed"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (e2b.RateLimitException(RESET), Cause.QUOTA),  # type: ignore[no-untyped-call]
        (e2b.SandboxNotRunningException(RESET), Cause.GONE),
        (e2b.SandboxNotFoundException(RESET), Cause.GONE),
        (e2b.SandboxUnreachableException(RESET), Cause.UNKNOWN),
        (e2b.TimeoutException(RESET), Cause.UNKNOWN),
        (e2b.NotEnoughSpaceException(RESET), Cause.FULL),
        (e2b.AuthenticationException(RESET), Cause.DENIED),
        (e2b.ServiceBusyException(RESET), Cause.BUSY),
        (e2b.InvalidArgumentException(RESET), Cause.REFUSED),
        (e2b.SandboxException(RESET, status_code=404), Cause.REFUSED),
        (e2b.SandboxException(RESET, status_code=500), Cause.BUSY),
        (e2b.SandboxException(RESET), Cause.UNKNOWN),
        (httpx.ConnectError(RESET), Cause.OFFLINE),
        (httpx.ReadError(RESET), Cause.UNKNOWN),
        (httpx.RemoteProtocolError(RESET), Cause.UNKNOWN),
        (Exception("Command ended without an end event"), Cause.UNKNOWN),
        (ValueError(RESET), Cause.BROKEN),
    ],
)
def test_a_cause_is_told_by_type_and_status_never_by_words(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause


@pytest.mark.parametrize(
    ("phase", "cause", "code"),
    [
        (Phase.BOOT, Cause.BUSY, ErrorCode.BOOT_FAIL),
        (Phase.BOOT, Cause.DENIED, ErrorCode.BOOT_FAIL),
        (Phase.BOOT, Cause.OFFLINE, ErrorCode.NET_FAIL),
        (Phase.BOOT, Cause.UNKNOWN, ErrorCode.NET_FAIL),
        (Phase.UPLOAD, Cause.FULL, ErrorCode.UPLOAD_FAIL),
        (Phase.UPLOAD, Cause.UNKNOWN, ErrorCode.UPLOAD_FAIL),
        (Phase.UPLOAD, Cause.GONE, ErrorCode.BOOT_FAIL),
        (Phase.COMMAND, Cause.GONE, ErrorCode.BOOT_FAIL),
        (Phase.COMMAND, Cause.UNKNOWN, ErrorCode.NET_FAIL),
        (Phase.DOWNLOAD, Cause.GONE, ErrorCode.DOWNLOAD_FAIL),
    ],
)
def test_a_failure_has_one_code_and_is_tried_again(phase: Phase, cause: Cause, code: ErrorCode) -> None:
    failed = Failed(phase, cause, "")
    assert failed.err_code is code
    assert failed.err_code.is_retryable
