"""Text of others is data on every surface: a corpus of attacks, and laws over all of Unicode."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.domain.untrusted_text import (
    code_block,
    for_cell,
    for_markdown,
    for_terminal,
    hidden_characters,
    is_hidden,
)

ATTACKS = {
    "cursor": "line1\x1b[1A\x1b[2Khidden",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "c1": "\x9b2J",
    "bidi": "access \u202eemirp\u202c",
    "isolate": "a\u2066b\u2069",
    "zero width": "pay\u200bpal",
    "no-break space": "a\u00a0b",
    "tag": "a\U000e0041b",
    "soft hyphen": "a\u00adb",
    "carriage return": "real\rfake",
    "line separator": "a\u2028b",
    "vertical tab": "a\x0bb",
}


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_hidden_characters_are_shown_as_escapes(text: str) -> None:
    for shown in (for_terminal(text), for_cell(text), for_markdown(text), code_block(text)):
        assert not [each for each in shown if is_hidden(each)]
    assert hidden_characters(text)
    assert "\\" in for_terminal(text)


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    text = "Größe ≤ 5 €, 日本語, עברית, العربية, emoji 🎉\n\tindented"
    assert for_terminal(text) == text


def test_a_cell_is_one_line() -> None:
    assert for_cell("name\nWITH\tbreak") == "name\\nWITH\\tbreak"


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://attacker/r)",
        "<img src=http://attacker/r>",
        "[a](javascript:alert(1))",
        "http://attacker/autolink",
        "**bold** _it_ `code`",
        "# heading",
        "| a | b |",
        "&lt;script&gt;",
    ],
)
def test_nothing_in_markdown_is_markup(text: str) -> None:
    shown = for_markdown(text)
    assert re.sub(r"\\(.)", "", shown).isascii()
    assert not re.search(r"(?<!\\)[!\[\]()<>`*_#|&:]", shown)


@pytest.mark.parametrize("text", ["```\n![x](http://attacker/r)", "````\n```", "a`b", ""])
def test_no_line_closes_the_fence_of_a_code_block(text: str) -> None:
    fence, *lines, end = code_block(text).split("\n")
    assert fence == end
    assert fence not in lines
    assert set(fence) == {"`"}


@given(st.text())
def test_what_a_terminal_gets_has_no_hidden_character(text: str) -> None:
    assert not [each for each in for_terminal(text) if is_hidden(each)]
    assert "\n" not in for_cell(text)


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), max_size=50))
def test_letters_and_digits_are_untouched(text: str) -> None:
    assert for_terminal(text) == for_cell(text) == for_markdown(text) == text
