"""The output of a step as a run's page shows it: long texts and lists are cut, artifacts hold the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 256 * 1024
MAX_TEXT = 32 * 1024
MAX_ITEMS = 1000


@dataclass
class _Room:
    """The characters that are left for the output, and whether anything was cut."""

    characters: int = MAX_CHARACTERS
    is_cut: bool = False


def bounded_output(output: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The output with at most MAX_CHARACTERS of text, and whether anything is missing.

    Objects keep their members, so that a reader of one finds it, shortened or not.
    """
    room = _Room()
    return {name: _bounded(value, room) for name, value in output.items()}, room.is_cut


def _bounded(value: Any, room: _Room) -> Any:
    if isinstance(value, str):
        return _bounded_text(value, room)
    if isinstance(value, Mapping):
        return {name: _bounded(member, room) for name, member in value.items()}
    if isinstance(value, Sequence):
        return _bounded_list(value, room)
    return value


def _bounded_text(text: str, room: _Room) -> str:
    most = min(MAX_TEXT, room.characters)
    kept = text[:most]
    room.characters -= len(kept)
    if len(kept) == len(text):
        return text
    room.is_cut = True
    return f"{kept}… (cut after {len(kept)} of {len(text)} characters)"


def _bounded_list(items: Sequence[Any], room: _Room) -> list[Any]:
    kept = []
    for item in items[:MAX_ITEMS]:
        if room.characters <= 0:
            break
        kept.append(_bounded(item, room))
    room.is_cut = room.is_cut or len(kept) < len(items)
    return kept
