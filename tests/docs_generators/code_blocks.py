"""The fenced code blocks of a Markdown text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `language` is empty for plain text."""

    language: str
    text: str


def code_blocks(page: Path) -> Iterator[CodeBlock]:
    """The blocks of a page, in order."""
    for found in _BLOCK.finditer(page.read_text()):
        yield CodeBlock(found[1], found[2])
