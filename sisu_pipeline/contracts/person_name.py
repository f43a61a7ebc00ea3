"""Names of people. Decisions, votes and submissions are recorded under them."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_NAME = 200
RESERVED_PREFIXES = ("sisu:", "policy:")
"""Names of the system itself: deadlines, and policies that approve automatically."""

# Cc controls, Cf format (bidirectional and zero-width), Cs surrogates, Co and Cn unassigned, Zl and Zp line breaks.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def checked_name(name: str) -> str:
    """The name itself.

    Raises ValueError when it is blank, longer than 200 characters, holds control or invisible characters, or is
    reserved for the system.
    """
    if not name.strip():
        raise ValueError("a person's name must not be blank")
    if len(name) > MAX_NAME:
        raise ValueError(f"a person's name has at most {MAX_NAME} characters (got {len(name)})")
    if any(unicodedata.category(character) in _HIDDEN for character in name):
        raise ValueError("a person's name must not contain control or invisible characters")
    if is_reserved(name):
        raise ValueError(f"names that start with {' or '.join(RESERVED_PREFIXES)} are reserved for the system")
    return name


def is_reserved(name: str) -> bool:
    """Whether a name is, or looks like, one of the system's."""
    return unicodedata.normalize("NFKC", name).strip().casefold().startswith(RESERVED_PREFIXES)


PersonName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(checked_name)]
