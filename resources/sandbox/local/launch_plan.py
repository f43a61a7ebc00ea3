"""Validation of a request for the local provider, before anything is started."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from resources.sandbox.input_files import check_sizes, executables, fetch_files
from resources.sandbox.local.isolation.bwrap import BOX_WORK
from resources.sandbox.request_checks import check_request, safe_relative_path
from resources.sandbox.sandbox_port import RequestRefused, TaskContext, UriResolver
from sisu_pipeline.contracts.sandbox_request import SandboxRequest


@dataclass(frozen=True)
class Plan:
    """A validated request: `directory` is the working directory below the writable folder, the root of `files`."""

    directory: PurePosixPath
    files: dict[str, bytes]
    executables: frozenset[str]
    tree: Path | None = None
    """A folder of the host whose files the command finds in the writable folder."""
    layer: Path | None = None
    """A folder of the host with what the setup left, which the command finds there too, below the other files."""

    @property
    def lower(self) -> tuple[Path, ...]:
        """The folders of the host below the writable folder, the lowest first."""
        return tuple(folder for folder in (self.layer, self.tree) if folder is not None)

    @property
    def inner_directory(self) -> str:
        """The working directory as the command sees it."""
        return str(PurePosixPath(BOX_WORK) / self.directory)


async def plan_request(
    request: SandboxRequest, context: TaskContext, disk_bytes: int, resolve: UriResolver | None
) -> Plan:
    """Check the request and fetch its files. Raises RequestRefused and UploadFailed."""
    check_request(request, context)
    if request.net:
        raise RequestRefused(
            "NET_NOT_SUPPORTED", "the local sandbox has no network; use the e2b provider, or net: false"
        )
    check_sizes(request)
    directory = _directory(request.workdir)
    return Plan(directory, await fetch_files(request, disk_bytes, resolve), executables(request))


def _directory(workdir: str | None) -> PurePosixPath:
    """Relative to BOX_WORK, or absolute below it."""
    if workdir is None or workdir in (".", BOX_WORK):
        return PurePosixPath()
    return safe_relative_path(workdir.removeprefix(f"{BOX_WORK}/"))
