"""The parts of a Markdown page that tests read: fenced blocks, prose, headings, links, code spans."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.docs_generators.markdown import anchor

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `language` is empty for plain text."""

    language: str
    text: str


@dataclass(frozen=True)
class MarkdownPage:
    """One Markdown file."""

    path: Path

    @cached_property
    def blocks(self) -> list[CodeBlock]:
        """Its fenced blocks, in order."""
        return [CodeBlock(found[1], found[2]) for found in _BLOCK.finditer(self.path.read_text())]

    @cached_property
    def prose(self) -> str:
        """Everything outside its fenced blocks."""
        return _BLOCK.sub("", self.path.read_text())

    @property
    def anchors(self) -> set[str]:
        """What links may name after `#`; a repeated heading gets a number."""
        counts: Counter[str] = Counter()
        anchors = set()
        for heading in _HEADING.findall(self.prose):
            name = anchor(_LINK.sub("", heading))
            anchors.add(f"{name}-{counts[name]}" if counts[name] else name)
            counts[name] += 1
        return anchors

    @property
    def links(self) -> list[str]:
        """The targets of its links and images, outside code spans."""
        return _LINK.findall(_CODE.sub("", self.prose))

    @property
    def code_spans(self) -> list[str]:
        """The text of its code spans."""
        return [" ".join(span.split()) for span in _CODE.findall(self.prose)]
