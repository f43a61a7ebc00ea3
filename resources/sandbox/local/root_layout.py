"""The folders of the local provider, on the host and as the starting uid sees them.

    <home>/boxes/                      working folders (`host_instance.py`)
    <home>/trees/<id>                  files of git trees, read-only below the working folders (`tree_layer.py`)
    <home>/setups/<name>               what the commands of setups left, the same way (`setup/layer_cache.py`)
    <home>/etc                         the /etc of every sandbox

When root runs the worker, `spawn_helper.py` also mounts all of them below one folder of `runtime`, in a mount
namespace of its own, because the starting uid may not pass through `home`.
"""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.sandbox.local.isolation.bwrap import BOX_PYTHON, INNER_ID, Bwrap, Sources
from resources.sandbox.local.spawn_client import Stage

_ETC = {
    "passwd": f"sandbox:x:{INNER_ID}:{INNER_ID}:sandbox:/tmp:/bin/sh\n",
    "group": f"sandbox:x:{INNER_ID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "ld.so.cache": "",  # the host's is mounted over it
}


@dataclass(frozen=True)
class Layout:
    """The paths: `boxes` on the host, the others as the starting uid sees them. Without a `stage` those are the
    paths of the host.
    """

    boxes: Path
    boxes_seen: str
    bwrap: str
    sources: Sources
    trees: Path
    setups: Path
    stage: Stage | None
    shared: Mapping[str, str]
    """Further files and folders that launches may mount, by name."""

    def seen_by(self, uid: int, folder: Path) -> str:
        """A folder of `trees` or `setups` as a uid sees it: on a stage, one whose files belong to that uid."""
        return str(folder) if self.stage is None else f"{self._mounts(uid)[str(folder.parent)]}/{folder.name}"

    def mounts_of(self, uid: int, folders: Sequence[Path]) -> dict[str, str]:
        """The folders of the host that a uid can only see mounted, and where: those that contain `folders`."""
        mounts = {} if self.stage is None else self._mounts(uid)
        return {source: target for source, target in mounts.items() if Path(source) in {f.parent for f in folders}}

    def _mounts(self, uid: int) -> dict[str, str]:
        directory = "" if self.stage is None else self.stage.directory
        return {str(folder): f"{directory}/{folder.name}/{uid}" for folder in (self.trees, self.setups)}


def plain_layout(home: Path, boxes: Path, bwrap: Bwrap, shared: Mapping[str, str]) -> Layout:
    """The layout for a starting uid that can reach every folder by its own path."""
    return Layout(
        boxes=boxes,
        boxes_seen=str(boxes),
        bwrap=bwrap.path,
        sources=Sources(etc=str(home / "etc"), python=interpreter_prefix(), libraries=_libraries()),
        trees=home / "trees",
        setups=home / "setups",
        stage=None,
        shared=shared,
    )


def staged_layout(home: Path, boxes: Path, bwrap: Bwrap, directory: Path, shared: Mapping[str, str]) -> Layout:
    """The layout for an unprivileged uid started by root: everything below `directory`, which must be empty."""
    prefix = interpreter_prefix()
    binds = {"boxes": str(boxes), "etc": str(home / "etc")}
    binds |= {f"shared/{name}": path for name, path in shared.items()}
    if prefix is not None:
        binds["python"] = prefix
    copied = next(iter(bwrap.copies), None)
    return Layout(
        boxes=boxes,
        boxes_seen=str(directory / "boxes"),
        bwrap=bwrap.path if copied is None else str(directory / copied),
        sources=Sources(
            etc=str(directory / "etc"),
            python=None if prefix is None else str(directory / "python"),
            libraries=_libraries(),
        ),
        trees=home / "trees",
        setups=home / "setups",
        stage=Stage(str(directory), binds, bwrap.copies),
        shared={name: str(directory / "shared" / name) for name in shared},
    )


def write_etc(home: Path) -> None:
    """Write the /etc of every sandbox: `localhost`, user names and the system's alternatives."""
    etc = home / "etc"
    (etc / "alternatives").mkdir(parents=True, exist_ok=True)
    for name, content in _ETC.items():
        # Replaced, not rewritten: another worker's sandbox may be reading it.
        descriptor, temporary = tempfile.mkstemp(dir=home)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(etc / name)
    for folder in (etc, etc / "alternatives"):
        folder.chmod(0o755)


def interpreter_prefix() -> str | None:
    """The installation of the running Python, if a sandbox does not have it in /usr.

    Also None where it would conflict with the system's Python: both linked to a shared library of one name.
    """
    prefix = Path(sys.base_prefix).resolve()
    if prefix == Path("/") or prefix.is_relative_to("/usr"):
        return None
    if _is_shared() and Path("/usr/bin/python3").exists() and _system_has_our_library():
        return None
    return str(prefix)


def _libraries() -> str | None:
    """The library folder of a Python with a shared libpython, whose own path does not exist inside."""
    return f"{BOX_PYTHON}/lib" if _is_shared() and interpreter_prefix() is not None else None


def _is_shared() -> bool:
    return bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))


def _system_has_our_library() -> bool:
    name = sysconfig.get_config_var("INSTSONAME")
    places = ("lib", "lib64", "lib/*-linux-*", "local/lib")
    return any(next(Path("/usr").glob(f"{place}/{name}"), None) for place in places)
