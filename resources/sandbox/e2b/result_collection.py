"""Collection of the output files of a command at E2B."""

import asyncio
from collections.abc import Mapping
from pathlib import PurePosixPath

from e2b import AsyncSandbox, FileNotFoundException

from resources.sandbox.e2b.provider_errors import Phase
from resources.sandbox.e2b.provider_retry import persist
from resources.sandbox.e2b.runner_script import WORK, ChangedFile
from resources.sandbox.output_files import Collected, OutputLimits, OutputSelection

_AT_ONCE = 8


async def collect(
    sandbox: AsyncSandbox,
    left: tuple[ChangedFile, ...] | None,
    directory: PurePosixPath,
    placed: Mapping[str, bytes],
) -> Collected:
    """Every regular file below `directory` that the command created or changed. Raises Failed (DOWNLOAD)."""
    limits = OutputLimits()
    selection = OutputSelection(limits)
    if left is None:
        selection.skip("", "the working directory is gone")
        return selection.collected()
    files = sorted(left, key=lambda file: file.path)
    reasons = {
        file.path: selection.reason_to_skip(file.path, is_regular=file.is_regular, size=file.size) for file in files
    }
    # Inputs with a new time but equal content may be listed too; no other file is fetched without need.
    most = limits.files + len(placed)
    readable = [file.path for file in files if reasons[file.path] is None][:most]
    contents = await _read_all(sandbox, PurePosixPath(WORK) / directory, readable)
    for path, reason in reasons.items():
        content = contents.get(path)
        if reason is None and path not in contents:
            selection.skip(path, f"more than {limits.files} files")
        elif reason is not None or content is None:
            selection.skip(path, reason or "not readable")
        elif placed.get(path) != content:
            selection.keep(path, content)
    return selection.collected()


async def _read_all(sandbox: AsyncSandbox, place: PurePosixPath, paths: list[str]) -> dict[str, bytes | None]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def read(path: str) -> bytes | None:
        async with limit:
            try:
                content = await persist(
                    lambda: sandbox.files.read(str(place / path), format="bytes"), Phase.DOWNLOAD
                )
            except FileNotFoundException:
                return None
            return bytes(content)

    return dict(zip(paths, await asyncio.gather(*map(read, paths)), strict=True))
