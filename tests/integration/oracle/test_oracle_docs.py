"""The page about the oracle is the laws' own words."""

from tests.integration.oracle import docs


def test_the_page_lists_every_law_as_its_file_says_it() -> None:
    assert docs.PAGE.read_text() == docs.page(), "run `python -m tests.integration.oracle.docs`"
