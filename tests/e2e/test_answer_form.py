"""The form of a question in the inbox: the author's order, defaults, and every value that the server accepts."""

from typing import Any

from selenium.webdriver.support.ui import Select

from tests.e2e.browser import Browser
from tests.e2e.test_inbox import be, live, open_run, page
from tests.integration.api.conftest import Api, api
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

PROPERTIES: dict[str, Any] = {
    "step": {"type": "string", "default": "build"},
    "a": {"enum": [{"region": "eu"}, None, "plain"]},
    "confirmation": {"type": "boolean", "default": True},
    "10": {"type": "integer", "default": 3},
    "2": {"type": ["string", "null"]},
    "emoji": {"type": "string", "maxLength": 1},
    "text": {"type": "string", "default": "one\ntwo"},
    "list": {"type": "array", "items": {"type": "integer"}, "default": [1, 2]},
}
ASK = {
    "askUser": {"question": "Which?", "form": {"type": "object", "properties": PROPERTIES, "required": ["a", "2"]}}
}


def test_fields_keep_their_order_defaults_and_values(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    open_run(page, api, run)
    be(page, "Ann")
    labels = [
        label.text.removesuffix(" (optional)")
        for label in page.driver.find_elements("css selector", "#answer label, #answer legend")
    ]
    assert labels[: len(PROPERTIES)] == list(PROPERTIES)
    assert page.labelled("step").get_attribute("value") == "build"
    assert page.labelled("text").get_attribute("value") == "one\ntwo"
    choice = Select(page.one("#answer select"))
    assert [option.text for option in choice.options] == ["—", '{"region":"eu"}', "null", "plain"]
    choice.select_by_visible_text('{"region":"eu"}')
    page.driver.execute_script(
        "arguments[0].value = '\\u{1F600}'; arguments[0].dispatchEvent(new Event('input'))", page.labelled("emoji")
    )
    page.one("#answer button.main").click()
    page.one("#announcement", "Answered")
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["answer"] == {
        "step": "build",
        "a": {"region": "eu"},
        "confirmation": True,
        "10": 3,
        "2": None,
        "emoji": "\U0001f600",
        "text": "one\ntwo",
        "list": [1, 2],
    }


def test_a_required_choice_is_not_made_for_the_person(page: Browser, api: Api) -> None:
    form = {"type": "object", "properties": {"to": {"enum": ["staging", "production"]}}, "required": ["to"]}
    run = Waiting(api.dependencies, constraints={"askUser": {"question": "Where?", "form": form}})
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#answer button.main").click()
    assert page.driver.find_elements("css selector", "#answer select:invalid")
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["state"] == "waiting"


NESTED: dict[str, Any] = {
    "hosts": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
    "notify": {
        "type": "object",
        "properties": {"mail": {"type": "string"}, "urgent": {"type": "boolean", "default": False}},
        "required": ["mail"],
        "additionalProperties": False,
    },
    "steps": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
    },
    "extra": {"type": "object"},
}


def test_lists_and_objects_have_fields_of_their_own(page: Browser, api: Api) -> None:
    form = {"type": "object", "properties": NESTED, "required": ["hosts", "notify"]}
    run = Waiting(api.dependencies, constraints={"askUser": {"question": "Where?", "form": form}})
    open_run(page, api, run)
    be(page, "Ann")
    hosts = "#answer fieldset:nth-of-type(1)"
    assert [field.accessible_name for field in page.driver.find_elements("css selector", f"{hosts} textarea")] == [
        "Item 1"
    ]
    page.one(f"{hosts} textarea").send_keys("one")
    page.one(f"{hosts} > button", "Add").click()
    page.driver.switch_to.active_element.send_keys("two")
    assert page.one(f"{hosts} > button", "Add").get_attribute("disabled")
    page.labelled("mail").send_keys("a@b")
    page.one("#answer fieldset:nth-of-type(3) > button", "Add").click()
    page.driver.switch_to.active_element.send_keys("7")
    assert page.faults() == []
    page.labelled("extra").send_keys("{")
    page.one("#answer button.main").click()
    assert page.driver.find_elements("css selector", "#answer textarea.code:invalid")
    page.labelled("extra").send_keys('"a": 1}')
    page.one("#answer button.main").click()
    page.one("#announcement", "Answered")
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["answer"] == {
        "hosts": ["one", "two"],
        "notify": {"mail": "a@b", "urgent": False},
        "steps": [{"n": 7}],
        "extra": {"a": 1},
    }
