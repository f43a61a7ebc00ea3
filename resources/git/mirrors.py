"""Bare mirrors of repositories: `<folder>/<sha256 of the address>`, which hold the commits that runs start from."""

import fcntl
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.git.git_command import Bounds, Git, init_bare
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.repository_address import Address

_FETCHED = "refs/sisu/fetched"
_POLL_SECONDS = 0.05
_MIB = 1024 * 1024
_LOCAL_COMMAND = (
    # A repository on this machine is read by a second git, which must not follow that repository's configuration.
    "git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.alternateRefsCommand=true "
    "-c receive.autoGC=false -c gc.auto=0 -c maintenance.auto=false {}"
)


@dataclass(frozen=True)
class MirrorSettings:
    """`quota_mb` bounds one mirror; `timeout_s` bounds one fetch or push, and the wait for another one."""

    folder: Path
    quota_mb: int = 2048
    timeout_s: float = 120
    credentials: Path | None = None
    """A file of `https://user:token@host` lines, in the format of git-credential-store."""
    ca_file: Path | None = None
    pauses_s: tuple[float, ...] = ()
    """Seconds before each repetition of a fetch that failed for a reason that may pass."""


class _OverQuota(Exception):
    """A fetch needs more room than the quota of its mirror."""


class Mirrors:
    """The mirrors below one folder. Fetches of one repository are serialized by a lock on a file."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._settings = settings

    def path(self, address: Address) -> Path:
        """The folder of a repository's mirror."""
        return self._settings.folder / address.key

    def git(self, address: Address) -> Git:
        """Git on a repository's mirror, without any transport."""
        return Git(self.path(address), bounds=self._bounds())

    def resolve_ref(self, address: Address, ref: str) -> str:
        """Fetch a branch, tag or full commit id, and return the id of its commit.

        Raises GitRefused or GitUnavailable.
        """
        with self._locked(address):
            return self._fetch_patiently(address, ref)

    def require(self, address: Address, commit: str) -> Git:
        """Git on a mirror that holds a commit, which is fetched if it is missing.

        Raises GitRefused or GitUnavailable.
        """
        if not self._has(address, commit):
            with self._locked(address):
                if not self._has(address, commit) and self._fetch_patiently(address, commit) != commit:
                    raise GitRefused(f"cannot fetch commit {commit}: the repository returned another one")
        return self.git(address)

    def remote_git(self, address: Address, remote: Address | None = None) -> Git:
        """Git on a mirror, with the transport and the credentials of its repository, or of another `remote`."""
        return Git(
            self.path(address),
            protocols=((remote or address).protocol,),
            settings=self._remote_settings(),
            bounds=self._bounds(),
        )

    def _has(self, address: Address, commit: str) -> bool:
        if not (self.path(address) / "HEAD").exists():
            return False
        try:
            self.git(address).run(
                "find the commit", "rev-parse", "--verify", "--quiet", f"{_kept(commit)}^{{tree}}"
            )
        except GitRefused:
            return False
        return True

    def _fetch_patiently(self, address: Address, ref: str) -> str:
        for pause in self._settings.pauses_s:
            try:
                return self._fetch(address, ref)
            except GitUnavailable:
                time.sleep(pause)
        return self._fetch(address, ref)

    def _fetch(self, address: Address, ref: str) -> str:
        try:
            return self._fetch_within_quota(address, ref)
        except _OverQuota:
            # The commits of earlier runs may use up the quota; they are fetched again when they are needed.
            shutil.rmtree(self.path(address))
        try:
            return self._fetch_within_quota(address, ref)
        except _OverQuota:
            shutil.rmtree(self.path(address))
            raise GitRefused(
                f"cannot fetch {ref}: the repository needs more than its quota of {self._settings.quota_mb} MiB; "
                "an operator can raise SISU_GIT_QUOTA_MB"
            ) from None

    def _fetch_within_quota(self, address: Address, ref: str) -> str:
        try:
            commit = self._fetch_once(address, ref)
        except (GitRefused, GitUnavailable) as failure:
            if self._remove_partial_packs(address):
                raise _OverQuota from failure
            raise
        if self._size(address) > self._quota:
            raise _OverQuota
        return commit

    def _fetch_once(self, address: Address, ref: str) -> str:
        if not (self.path(address) / "HEAD").exists():
            shutil.rmtree(self.path(address), ignore_errors=True)
            init_bare(self.path(address))
        git = self.remote_git(address)
        git.run(
            f"fetch {ref}",
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--upload-pack", program("upload-pack")) * (address.protocol == "file"),
            *("--", address.text, f"+{ref}:{_FETCHED}"),
        )
        commit = git.text(f"find the commit of {ref}", "rev-parse", "--verify", "--quiet", f"{_FETCHED}^{{commit}}")
        # Objects without a reference could be removed.
        git.run("keep the commit", "update-ref", _kept(commit), commit)
        return commit

    def _remove_partial_packs(self, address: Address) -> bool:
        """Remove what a failed fetch left behind; True when a file had reached the quota."""
        left = list((self.path(address) / "objects" / "pack").glob("tmp_*"))
        reached = any(file.stat().st_size >= self._quota for file in left)
        for file in left:
            file.unlink()
        return reached

    def _size(self, address: Address) -> int:
        files = (Path(folder, name) for folder, _, names in os.walk(self.path(address)) for name in names)
        return sum(file.stat().st_size for file in files)

    @property
    def _quota(self) -> int:
        return self._settings.quota_mb * _MIB

    def _bounds(self) -> Bounds:
        return Bounds(seconds=self._settings.timeout_s, file_bytes=self._quota)

    def _remote_settings(self) -> dict[str, str]:
        given = {}
        if self._settings.credentials is not None:
            file = shlex.quote(str(self._settings.credentials))
            # Only `get`: a store would rewrite the operator's file.
            given["credential.helper"] = (
                f'!f() {{ test "$1" != get || git credential-store --file {file} get; }}; f'
            )
            given["credential.useHttpPath"] = "false"
        if self._settings.ca_file is not None:
            given["http.sslCAInfo"] = str(self._settings.ca_file)
        return given

    @contextmanager
    def _locked(self, address: Address) -> Iterator[None]:
        self._settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._settings.folder / f"{address.key}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._settings.timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise GitUnavailable(
                        f"cannot fetch: another process has been fetching the repository for "
                        f"{self._settings.timeout_s:g} seconds"
                    ) from None
                time.sleep(_POLL_SECONDS)


def program(name: str) -> str:
    """The command that serves a repository on this machine without running anything of it."""
    return _LOCAL_COMMAND.format(name)


def _kept(commit: str) -> str:
    return f"refs/sisu/commits/{commit}"
