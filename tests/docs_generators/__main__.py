"""Rewrite every generated page."""

from tests.docs_generators import api_page, settings_page, state_machine_page

PAGES = (state_machine_page.PAGE, settings_page.PAGE, api_page.PAGE)

if __name__ == "__main__":
    for page in PAGES:
        page.write()
