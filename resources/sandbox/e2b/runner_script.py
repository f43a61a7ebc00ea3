"""The shell script that runs inside the sandbox. It stores the output and the end of the command.

The result therefore does not depend on a connection. Everything is in `.sisu/` in the user's home. Creating that
folder claims the task, so a second start of the same task does nothing. Requires bash, tar, tee and find, which
every Debian-based image of E2B has.
"""

import io
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PACKAGE = ".sisu.tar"
PID = ".sisu/pid"
END = ".sisu/end"
STREAMS = {"stdout": ".sisu/stdout", "stderr": ".sisu/stderr"}
WORK = "work"

TAKEN_EXIT = 97

START = (
    f"cd && mkdir .sisu 2>/dev/null || exit {TAKEN_EXIT}; "
    f"echo $$ > {PID}; tar -xf {PACKAGE} && rm {PACKAGE} && exec bash .sisu/run"
)
"""The command that starts the script. Idempotent: a second start does nothing."""

ELAPSED = "echo $(($(date +%s%3N) - $(cat .sisu/began 2>/dev/null || date +%s%3N)))"
"""How many milliseconds the command has been running, by the sandbox's own clock."""

# `mark` is older than any file the command changes: the start waits for the file system's next tick.
# Messages of the shell itself go to `log`, never into the command's output.
# Left-over processes of the command are killed, so that its output ends; a sandbox is killed anyway.
_RUN = """\
set -m
cd ~/.sisu
mkfifo out.pipe err.pipe
tee stdout < out.pipe & out=$!
tee stderr < err.pipe >&2 & err=$!
exec 2> log
mapfile -d '' -t vars < env
cmd=$(cat cmd)
ooms() { sed -n 's/^oom_kill //p' /proc/vmstat; }
before=$(ooms)
: > mark
until : > tick && [ tick -nt mark ]; do :; done
date +%s%3N > began
(cd "$work" && exec env -- "${vars[@]}" /bin/sh -c "$cmd") > out.pipe 2> err.pipe < /dev/null & job=$!
wait $job
code=$?
ended=$(date +%s%3N)
{
    kill -9 -- -$job
    (sleep 2; kill -9 $out $err) & guard=$!
    wait $out $err
    kill -9 -- -$guard
} > /dev/null
{
    echo $code $((ended - $(cat began))) $(($(ooms) - before))
    times
    printf '\\0'
    if cd "$work"; then
        find . -mindepth 1 ! -type d -cnewer ~/.sisu/mark -printf '%y %s %P\\0' | head -c 1000000
    else
        printf 'gone\\0'
    fi
} > ~/.sisu/end.part
mv ~/.sisu/end.part ~/.sisu/end
exit $code
"""


@dataclass(frozen=True)
class ChangedFile:
    """A file the command created or changed, `path` below the working directory; size in bytes."""

    path: str
    is_regular: bool
    size: int


@dataclass(frozen=True)
class CommandEnd:
    """The end of the command as the script reports it. `left` is None if its working directory is gone."""

    exit_code: int
    wall_ms: int
    cpu_ms: int
    oom_kills: int
    left: tuple[ChangedFile, ...] | None


def package(
    cmd: str,
    env: Mapping[str, str],
    directory: PurePosixPath,
    files: Mapping[str, bytes],
    executables: frozenset[str] = frozenset(),
    tree: Path | None = None,
) -> bytes:
    """One archive with the script, the command, its environment and input files, and the files of `tree`."""
    place = PurePosixPath(WORK) / directory
    variables = {"PYTHONDONTWRITEBYTECODE": "1", **env}  # as in the local sandbox: caches are not outputs
    inner = {
        ".sisu/run": f"work=~/{shlex.quote(str(place))}\n{_RUN}".encode(),
        ".sisu/cmd": cmd.encode(),
        ".sisu/env": b"".join(f"{name}={value}\0".encode() for name, value in variables.items()),
        **{str(place / path): content for path, content in files.items()},
    }
    executable = {str(place / path) for path in executables}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo(str(place))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        if tree is not None:
            tar.add(tree, WORK, filter=_without_owner)
        tar.addfile(folder)
        for name, content in inner.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name in executable else 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def parse_end(content: bytes) -> CommandEnd:
    """Parse the script's report. Raises ValueError."""
    head, *listed = content.split(b"\0")
    numbers, _, children = head.decode().strip().split("\n")
    code, wall_ms, oom_kills = map(int, numbers.split())
    names = [entry.decode("utf-8", "surrogateescape") for entry in listed if entry]
    left = None if names == ["gone"] else tuple(entry for name in names if (entry := _left(name)) is not None)
    return CommandEnd(code, wall_ms, sum(map(_milliseconds, children.split())), oom_kills, left)


def _left(entry: str) -> ChangedFile | None:
    """`f 12 path`; None for the last one when the listing was cut."""
    kind, _, rest = entry.partition(" ")
    size, _, path = rest.partition(" ")
    return ChangedFile(path, kind == "f", int(size)) if path else None


def _milliseconds(spent: str) -> int:
    """bash's `1m2.345s`."""
    minutes, _, seconds = spent.removesuffix("s").partition("m")
    return round(int(minutes) * 60_000 + float(seconds.replace(",", ".")) * 1000)
