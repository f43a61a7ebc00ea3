"""The stack that this user started last, so that commands find it from any folder.

`sisu start` records it only where no SISU_HOME names the data folder: with one, commands find it anyway.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(".local/state/sisu/stack.json")
_LOCAL_HOME = Path(".sisu")


@dataclass(frozen=True)
class KnownStack:
    """The data folder and the API's port of a stack."""

    home: Path
    port: int


def remember(stack: KnownStack) -> None:
    """Record the stack in the user's home folder, for this user alone. Does nothing where that is not possible."""
    with suppress(OSError, RuntimeError):
        file = Path.home() / _FILE
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = file.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_text(json.dumps({"home": str(stack.home), "port": stack.port}))
        written.replace(file)


def recall() -> KnownStack | None:
    """The recorded stack; None without one, and where its data folder is gone or there is one in this folder."""
    if _LOCAL_HOME.exists():
        return None
    try:
        recorded = json.loads((Path.home() / _FILE).read_text())
        stack = KnownStack(Path(recorded["home"]), int(recorded["port"]))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None
    return stack if stack.home.is_dir() else None
