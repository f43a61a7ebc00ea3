"""What a request means for the local provider, settled before anything is started."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import PurePosixPath

from resources.sandbox.local.bwrap import BOX_WORK
from resources.sandbox.port import RequestRefused, UriResolver
from resources.sandbox.requests import check_request, safe_relative_path
from sisu_pipeline.contracts.sandbox import FileIn, SandboxRequest

_LONGEST_TEXT = 120_000
"""Bytes; the kernel takes 128 KiB per argument."""

_LONGEST_ENVIRONMENT = 512_000
_MOST_VARIABLES = 2_000


class UploadFailed(Exception):
    """An input file could not be fetched this time."""


@dataclass(frozen=True)
class Plan:
    """`directory` is the working directory below the writable folder; `files` are relative to it."""

    directory: PurePosixPath
    files: dict[str, bytes]

    @property
    def inner_directory(self) -> str:
        """The working directory as the command sees it."""
        return str(PurePosixPath(BOX_WORK) / self.directory)


async def plan_request(request: SandboxRequest, disk_bytes: int, resolve: UriResolver | None) -> Plan:
    """Check the request and fetch its files. Raises RequestRefused and UploadFailed."""
    check_request(request)
    if request.net:
        raise RequestRefused(
            "NET_NOT_SUPPORTED", "the local sandbox has no network; use the e2b provider, or net: false"
        )
    _check_sizes(request)
    directory = _directory(request.workdir)
    files = {file.path: await _content(file, resolve) for file in request.files_in}
    if sum(map(len, files.values())) > disk_bytes:
        raise RequestRefused("FILES_TOO_LARGE", f"the input files need more than {disk_bytes} bytes")
    return Plan(directory, files)


def _check_sizes(request: SandboxRequest) -> None:
    if len(request.cmd.encode()) > _LONGEST_TEXT:
        raise RequestRefused("COMMAND_TOO_LARGE", f"cmd has more than {_LONGEST_TEXT} bytes")
    sizes = [len(name.encode()) + len(value.encode()) for name, value in request.env.items()]
    too_large = max(sizes, default=0) > _LONGEST_TEXT or sum(sizes) > _LONGEST_ENVIRONMENT
    if too_large or len(sizes) > _MOST_VARIABLES:
        raise RequestRefused("ENV_TOO_LARGE", "env has more variables or bytes than a process can be given")


def _directory(workdir: str | None) -> PurePosixPath:
    """Relative to BOX_WORK, or absolute below it."""
    if workdir is None or workdir in (".", BOX_WORK):
        return PurePosixPath()
    return safe_relative_path(workdir.removeprefix(f"{BOX_WORK}/"))


async def _content(file: FileIn, resolve: UriResolver | None) -> bytes:
    if file.inline is not None:
        return _encoded(file.inline)
    assert file.uri is not None  # check_request
    if file.uri.startswith("data:"):
        return _data_uri(file.uri)
    if resolve is None:
        raise RequestRefused("URI_NOT_SUPPORTED", f"nothing here fetches {file.uri}")
    try:
        return await resolve(file.uri)
    except LookupError as error:
        raise RequestRefused("URI_NOT_FOUND", f"there is no content at {file.uri}") from error
    except Exception as error:
        raise UploadFailed(f"{file.uri} could not be fetched: {error}") from error


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RequestRefused("TEXT_INVALID", "a file holds a lone surrogate") from error


def _data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("only base64")
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestRefused("URI_NOT_SUPPORTED", f"not a base64 data: URI ({error})") from error
