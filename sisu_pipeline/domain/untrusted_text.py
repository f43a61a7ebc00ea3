"""Text of a submitter, an agent or a command, made safe for each surface that shows it.

Control characters could rewrite what a person reads before a decision: escape sequences move a terminal's cursor,
bidirectional overrides reorder a line, and invisible characters hide a difference. They are shown as escapes.
"""

import re
import unicodedata

TAB, NEWLINE = "\t", "\n"

_INVISIBLE = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\ufe0f\uffa0")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"})
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:/@\"'=^])")
_LONGEST_LINE = 2000


def is_hidden(character: str) -> bool:
    """Whether a character is invisible or changes how others are shown; a space, a tab and a line feed do not."""
    if character in (" ", TAB, NEWLINE):
        return False
    # Cc controls, Cf format (bidirectional and zero-width), Cs surrogates, Zl and Zp line breaks, Zs odd spaces.
    return character in _INVISIBLE or unicodedata.category(character) in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
        "Zs",
    )


def escaped(character: str) -> str:
    """The escape that represents a hidden character: `\\x1b`, `\\u202e`, `\\U000e0001`."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_terminal(text: str) -> str:
    """Several lines for a terminal or a log: hidden characters as escapes, tabs and line feeds as they are."""
    return "".join(escaped(each) if is_hidden(each) else each for each in text)


def for_cell(text: str) -> str:
    """One line for a table cell or a log record: as `for_terminal`, with tabs and line feeds as escapes."""
    return for_terminal(text).replace(TAB, "\\t").replace(NEWLINE, "\\n")


def for_json(text: str) -> str:
    """A JSON document for a terminal: hidden characters as JSON escapes, which keep its value."""
    return "".join(_json_escape(each) if is_hidden(each) else each for each in text)


def for_markdown(text: str) -> str:
    """One line inside Markdown: nothing in it is markup, a link, an image or HTML."""
    return _MARKDOWN.sub(r"\\\1", for_cell(text)[:_LONGEST_LINE])


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def code_block(text: str) -> str:
    """A Markdown code block whose fence no line of the text can close."""
    shown = for_terminal(text)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shown}\n{fence}"


def hidden_characters(text: str) -> list[str]:
    """The distinct hidden characters of a text as escapes, sorted by code point; line endings with CR included."""
    return [escaped(each) for each in sorted(filter(is_hidden, set(text)))]
