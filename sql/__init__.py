"""Every SQL statement of the project lives in this folder, named and explained; Python only loads them.

A file of `queries/` holds statements as

    -- name --
    -- what it is for
    SELECT …

and `query("runs.get")` is the statement `get` of `queries/runs.sql`.

A migration that processes of an earlier release do not survive states why in its leading comment, on a line
`-- breaking: REASON`. It is refused while such processes run.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parent
_BREAKING = "-- breaking: "
_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)


class Script(NamedTuple):
    """A whole SQL file: its name without `.sql`, its leading comment, its text."""

    name: str
    purpose: str
    text: str

    @property
    def breaking(self) -> str | None:
        """Why processes of an earlier release cannot work on the migrated schema; None when they can."""
        found = (line.removeprefix(_BREAKING) for line in self.text.splitlines() if line.startswith(_BREAKING))
        return next(found, None)


@cache
def query(name: str) -> str:
    """The statement `file.statement`. Raises KeyError for a name no file holds."""
    file, statement = name.split(".")
    return _statements(file)[statement]


def migrations() -> list[Script]:
    """The migrations, in the order they apply."""
    return _scripts("migrations")


def oracle() -> list[Script]:
    """The laws: each returns zero rows when it holds."""
    return _scripts("oracle")


@cache
def _statements(file: str) -> dict[str, str]:
    text = (_ROOT / "queries" / f"{file}.sql").read_text()
    parts = _HEADING.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _scripts(folder: str) -> list[Script]:
    return [_script(path) for path in sorted((_ROOT / folder).glob("*.sql"))]


def _script(path: Path) -> Script:
    text = path.read_text()
    lines = text.splitlines()
    comment = [line.removeprefix("--").strip() for line in _leading_comment(lines)]
    return Script(path.stem, " ".join(comment), text)


def _leading_comment(lines: list[str]) -> list[str]:
    end = next((index for index, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return lines[:end]
