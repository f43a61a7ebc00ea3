"""The git trees of requests as folders below one folder: written once, shared by all tasks that start from them."""

import asyncio
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from resources.sandbox.input_files import UploadFailed
from resources.sandbox.sandbox_port import RequestRefused, TaskContext, TreeResolver
from sisu_pipeline.contracts.sandbox_request import SandboxRequest

_KEPT_S = 24 * 3600


class RunTrees:
    """Folders by the id of their tree. Those that no task used for a day are removed.

    Several processes may share a folder; a tree is written under another name and renamed.
    """

    def __init__(self, folder: Path, resolve: TreeResolver | None) -> None:
        self.folder = folder
        self._resolve = resolve
        self._writing: dict[str, asyncio.Task[None]] = {}

    async def folder_of(self, request: SandboxRequest, context: TaskContext) -> Path | None:
        """The folder with the tree of a request; None without one. Raises RequestRefused and UploadFailed."""
        if request.tree is None:
            return None
        folder = self.folder / request.tree
        if not folder.is_dir():
            await self._written(request.tree, context, folder)
        with suppress(FileNotFoundError):
            os.utime(folder)
        return folder

    async def _written(self, tree: str, context: TaskContext, folder: Path) -> None:
        """Write a tree once, however many tasks wait for it."""
        writing = self._writing.get(tree)
        if writing is None:
            writing = self._writing[tree] = asyncio.create_task(self._write(tree, context, folder))
            writing.add_done_callback(lambda _: self._writing.pop(tree, None))
        await asyncio.shield(writing)

    async def _write(self, tree: str, context: TaskContext, folder: Path) -> None:
        if self._resolve is None:
            raise RequestRefused("TREE_NOT_SUPPORTED", "nothing here provides the files of a repository")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)  # whatever the umask: a sandbox's uid passes through
        await asyncio.to_thread(self._remove_old)
        try:
            await self._resolve(context.run_id, tree, folder)
        except LookupError as error:
            raise RequestRefused("TREE_NOT_FOUND", str(error)) from error
        except Exception as error:
            raise UploadFailed(f"the files of the repository could not be written: {error}") from error

    def _remove_old(self) -> None:
        for folder in self.folder.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _KEPT_S:
                    shutil.rmtree(folder, ignore_errors=True)
