"""Content of a request's input files, inline or fetched; the same for every real provider."""

import base64
import binascii

from resources.sandbox.sandbox_port import RequestRefused, UriResolver
from sisu_pipeline.contracts.sandbox_request import LONGEST_COMMAND, FileIn, SandboxRequest

_LONGEST_ENVIRONMENT = 512_000
_MOST_VARIABLES = 2_000


class UploadFailed(Exception):
    """An input file could not be fetched or placed; a retry may succeed."""


def check_sizes(request: SandboxRequest) -> None:
    """Raise RequestRefused for a command or an environment that exceeds the limits of the kernel."""
    if len(request.cmd.encode()) > LONGEST_COMMAND:
        raise RequestRefused("COMMAND_TOO_LARGE", f"cmd has more than {LONGEST_COMMAND} bytes")
    sizes = [len(name.encode()) + len(value.encode()) for name, value in request.env.items()]
    too_large = max(sizes, default=0) > LONGEST_COMMAND or sum(sizes) > _LONGEST_ENVIRONMENT
    if too_large or len(sizes) > _MOST_VARIABLES:
        raise RequestRefused("ENV_TOO_LARGE", "env has more variables or bytes than a process can be given")


async def fetch_files(request: SandboxRequest, most_bytes: int, resolve: UriResolver | None) -> dict[str, bytes]:
    """Every input file's content by its path. Raises RequestRefused and UploadFailed."""
    files = {file.path: await _content(file, resolve) for file in request.files_in}
    if sum(map(len, files.values())) > most_bytes:
        raise RequestRefused("FILES_TOO_LARGE", f"the input files need more than {most_bytes} bytes")
    return files


def executables(request: SandboxRequest) -> frozenset[str]:
    """The paths of the input files that can be executed."""
    return frozenset(file.path for file in request.files_in if file.mode == "100755")


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
