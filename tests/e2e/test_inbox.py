"""The inbox in a real browser: every verb, at both widths, with the keyboard, without outside help."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver.common.keys import Keys

from resources.database import Database
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow import ownership, step_execution
from tests.builders import a_run, an_intent, apply_policy
from tests.e2e.browser import DESKTOP, Browser
from tests.integration.api.conftest import Api, Live, api, dependencies_over, serving
from tests.integration.api.test_tasks import a_failed_run
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES, ended

GOAL = "Make the tests pass"

__all__ = ["api"]


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The API of these tests: gone when they are done."""
    with serving(dependencies_over(database, tmp_path_factory.mktemp("inbox"))) as running:
        yield running


@pytest.fixture
def page(window: Browser) -> Iterator[Browser]:
    """The browser as new: desktop width, signed out, an empty console."""
    window.resize(DESKTOP)
    window.driver.delete_all_cookies()
    window.complaints()
    window.requested()
    yield window
    window.driver.get("about:blank")


def open_run(page: Browser, api: Api, run: Waiting) -> None:
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#gate")


def be(page: Browser, name: str) -> None:
    field = page.one("input[name=by]")
    field.clear()
    field.send_keys(name)


def test_it_lists_what_waits_the_most_pressing_first_with_age_and_deadline(page: Browser, api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, deadlineMayApprove=True)
    Waiting(api.dependencies, constraints={"planApprovalTimeoutS": 86_400})
    pressing = Waiting(
        api.dependencies, constraints={"planApprovalTimeoutS": 300, "planApprovalOnTimeout": "approve"}
    )
    page.open(api.url)
    assert page.one("h1", "waiting").text == "2 waiting for a decision"
    first = page.one("#gates li:first-child")
    assert str(first.find_element("css selector", "a").get_attribute("href")).endswith(pressing.run_id)
    assert "left, then approved" in first.text
    assert "opened" in first.text
    assert "24 h left, then rejected" in page.one("#gates li:last-child").text
    assert page.driver.title == "(2) Sisu inbox"


def test_a_person_reads_the_plan_with_its_patches_side_by_side(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, tests=["test the login", "test the logout"])
    open_run(page, api, run)
    plan = page.one("#plan").text
    for part in (f"Design for: {GOAL}", "test the login", "a.txt", "new/b.txt", run.plan_hash(api.client)):
        assert part in plan
    rows = page.driver.find_elements("css selector", "[aria-label='Changes of a.txt'] tbody tr")
    cells = [cell.text for cell in rows[0].find_elements("css selector", "td")]
    assert cells == ["1", "− before", "1", "+ after"]


def test_approve(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    be(page, "Ann")
    page.type("textarea[name=notes]", "looks right")
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    decision = api.get(f"/runs/{run.run_id}").json()["decision"]
    assert (decision["decision"], decision["decidedBy"], decision["notes"]) == ("approved", "Ann", "looks right")
    assert decision["planSha256"] == run.plan_hash(api.client)
    page.until(lambda: not page.driver.find_elements("css selector", "#gate"))
    assert run.segment().status is RunStatus.SUCCEEDED
    page.one("#progress", "succeeded")


_HIDE = """
Object.defineProperty(document, "hidden", { get: () => true });
document.dispatchEvent(new Event("visibilitychange"));
"""


@pytest.mark.slow
def test_tabs_that_are_hidden_leave_the_browsers_connections_to_the_one_that_is_read(
    page: Browser, api: Api
) -> None:
    """A browser has six connections for one site; each open stream takes one."""
    run = Waiting(api.dependencies)
    first = page.driver.current_window_handle
    try:
        for _ in range(6):
            page.open(api.url)
            page.one("h1", "waiting")
            page.driver.execute_script(_HIDE)
            page.driver.switch_to.new_window("tab")
        page.until(lambda: api.state.feed.watcher_count == 0)
        open_run(page, api, run)
        be(page, "Ann")
        page.one("#approve").click()
        page.one("#announcement", "Approved")
    finally:
        for handle in page.driver.window_handles:
            if handle != first:
                page.driver.switch_to.window(handle)
                page.driver.close()
        page.driver.switch_to.window(first)


def test_reject_needs_a_reason_and_restores_every_byte(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#reject").click()
    assert api.get(f"/runs/{run.run_id}").json()["decision"] is None
    page.type("textarea[name=notes]", "too risky")
    page.one("#reject").click()
    page.one("#announcement", "Rejected")
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    page.one("#progress", "too risky")
    assert run.files() == FILES


def test_edit_then_approve(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, tests=["t1", "t2"])
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    tests = page.labelled("Tests")
    tests.clear()
    tests.send_keys("t1\nt3")
    patch = page.one("fieldset textarea")
    patch.clear()
    patch.send_keys("edited\n")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.files() == {**FILES, "a.txt": "edited\n", "new/b.txt": "new\n"}
    assert sorted(task["request"]["cmd"].rpartition(" ")[2] for task in run.rows("sbx_runs")) == ["t1", "t3"]
    version = api.get(f"/runs/{run.run_id}/plan").json()
    assert version["plan"]["patchPlan"][0]["diffText"].splitlines()[-2:] == ["-before", "+edited"]


def test_answer_a_typed_form(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    page.open(api.url)
    page.one("#gates", "Question: Where to?")
    page.one("#gates a").click()
    be(page, "Ann")
    page.labelled("environment").send_keys("production")
    page.labelled("replicas").send_keys("3")
    page.one("#answer button").click()
    page.one("#announcement", "Answered")
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["answer"] == {"environment": "production", "replicas": 3}
    assert run.segment().next_action == "APPROVE_PLAN"
    # The next gate appears by itself.
    page.one("#approve")


def test_a_decision_of_another_person_leaves_no_verbs_and_the_text(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    be(page, "Ann")
    page.type("textarea[name=notes]", "too risky")
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    page.one("#announcement", "has changed since you started typing")
    page.one("#reject").click()
    page.one("#gate [role=alert]", "bob")
    assert page.one("textarea[name=notes]").get_attribute("value") == "too risky"
    assert page.driver.find_elements("css selector", "#approve, #reject") == []
    page.one("#show-decision").click()
    page.one("#progress", "approved by bob")


def test_an_address_that_names_no_page_shows_so(page: Browser, api: Api) -> None:
    page.open(f"{api.url}/#/runs/run_ffff")
    page.one("h1", "No such page")
    page.one("main a", "To the inbox").click()
    page.one("h1", "No gate waits")


def test_a_run_that_ended_without_a_plan_is_titled_by_its_goal(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, goal="Never planned", start=False)
    api.post(f"/runs/{run.run_id}/cancel", {"actor": "bob", "reason": "not needed"})
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("h1", "Never planned")
    assert page.driver.title == "Never planned · Sisu inbox"


def test_a_refusal_is_shown_and_decides_nothing(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    be(page, "Ann")
    with api.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # a trigger refuses it
        connection.execute("UPDATE app.human_gates SET plan_sha256 = repeat('0', 64)")
    page.one("#approve").click()
    assert "the plan has changed" in page.one("[role=alert]", "changed").text
    assert run.rows("plan_approvals") == []


def test_a_decision_made_elsewhere_reaches_an_open_page_by_itself(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    page.open(api.url)
    page.one("h1", "1 waiting")
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    page.one("h1", "No gate waits")


def test_running_intents_show_their_progress_live(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, tests=["a", "b"])
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    page.open(api.url)
    page.one("h1", "No gate waits")
    ownership.enter(api.dependencies.database, run.id, run.owner)
    decided = step_execution.decide_plan(api.dependencies, run.id)
    assert decided is not None
    step_execution.commit(api.dependencies, run.id, decided)
    page.one("#active", "0 of 2 tasks")
    run.execute(ended())
    page.one("#finished", "succeeded")


def test_what_running_tasks_say_is_shown_while_they_run(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, tests=["a", "b"])
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    ownership.enter(api.dependencies.database, run.id, run.owner)
    decided = step_execution.decide_plan(api.dependencies, run.id)
    assert decided is not None
    step_execution.commit(api.dependencies, run.id, decided)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#progress", "0 of 2 tasks")
    say(api, run, (0, "stdout", "collecting\nhalf a "), (1, "stderr", "<b>warned</b>\n"))
    page.one("#output", "0  collecting\n1! <b>warned</b>")
    assert "half" not in page.text
    say(api, run, (0, "stdout", "line\n"))
    page.one("#output", "0  half a line")
    assert page.faults() == []
    run.execute(ended())
    page.one("#progress", "succeeded")
    page.one("#output", "0  half a line")
    assert page.complaints() == []


def say(api: Api, run: Waiting, *texts: tuple[int, str, str]) -> None:
    """What a worker writes while tasks run."""
    with api.dependencies.database.connect() as connection:
        task_output.append(connection, [Piece(run.run_id, str(text[0]) * 64, *text) for text in texts])


def test_a_finished_run_shows_its_artifacts_and_leads_into_the_lineage(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    run.segment()
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#progress", "succeeded")
    links = {
        link.text: str(link.get_attribute("href")) for link in page.driver.find_elements("css selector", "main a")
    }
    assert links["Lineage"] == f"{api.state.dagster_url}/assets/execution?view=partitions&partition={quote(run.id)}"
    assert links["Dagster run"] == f"{api.state.dagster_url}/runs/{run.owner}"
    assert api.client.get(links["plan.json"]).json()["goal"] == GOAL
    assert "bob" in page.text


def test_a_failed_run_begins_with_its_first_failure_and_offers_its_logs(page: Browser, api: Api) -> None:
    run = a_failed_run(api)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    assert "failed: 1 of 3 tests (retries_exceeded)" in page.one("#progress", "failed").text
    failure = page.one("#failure", "test_b").text
    assert "failed, exit 3" in failure
    assert "AssertionError: 1 != 2" in failure
    rows = page.driver.find_elements("css selector", "#tasks tbody tr")
    assert [row.text.split()[1:3] for row in rows] == [
        ["test_b", "failed"],
        ["test_a", "passed"],
        ["test_c", "passed"],
    ]
    assert "Wait for approval" in page.text
    logs = str(page.one("#results a", "Logs").get_attribute("href"))
    assert "AssertionError: 1 != 2" in api.client.get(logs).text
    assert page.complaints() == []


def test_with_tokens_the_page_asks_for_one_and_the_decision_is_its_owners(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    token = a_token(api.dependencies.database, "ann", Role.APPROVER)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.type("input[name=token]", "sisu_wrong")
    page.one("form button").click()
    page.one("[role=alert]", "unknown or revoked")
    page.type("input[name=token]", token)
    page.one("form button").click()
    page.one("#who", "ann (approver)")
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    assert run.rows("plan_approvals")[0]["decided_by"] == "ann"
    page.one("#who button").click()
    page.one("input[name=token]")


def test_a_viewer_reads_and_finds_no_verbs(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    token = a_token(api.dependencies.database, "eve", Role.VIEWER)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.type("input[name=token]", token + Keys.ENTER)
    page.one("#gate", "permits reading only")
    assert page.driver.find_elements("css selector", "#gate button") == []


def test_what_a_plan_says_is_text_and_never_runs(page: Browser, api: Api) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    patches = [{"targetPath": "a.txt", "postimageContent": attack, "diffText": attack}]
    run = Waiting(api.dependencies, tests=[attack], patches=patches)
    open_run(page, api, run)
    assert attack in page.one("#plan").text
    assert page.driver.find_elements("css selector", "main img, main script") == []
    assert "owned" not in page.driver.title
    assert page.complaints() == []


def test_it_asks_nobody_but_the_api_and_its_console_stays_silent(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    page.open(api.url)
    page.one("#gates a").click()
    page.one("#approve")
    page.one("#connection", "Live")
    asked = {urlsplit(url).netloc for url in page.requested() if not url.startswith(("about:", "chrome:", "data:"))}
    assert asked == {f"127.0.0.1:{api.port}"}
    assert page.complaints() == []
    assert run.rows("plan_approvals") == []


def test_work_for_a_version_nobody_runs_is_said(page: Browser, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from sisu_pipeline.api.schemas.gate_schemas import Stranded
    from sisu_pipeline.api.views import gate_views

    stranded = [Stranded(app_version="v0", queue_name="intentQ", enqueued=3)]
    monkeypatch.setattr(gate_views, "_stranded", lambda _: stranded)
    page.open(api.url)
    page.one("[role=alert]", "3 pieces of work on intentQ wait for version v0")


def test_a_run_that_a_limit_holds_names_it(page: Browser, api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        started, held = (a_run(connection, an_intent(goal), queuePartitionKey="busy") for goal in ("one", "two"))
        outbox.mark_started(connection, [started.workflow_id])
    limit = "Waits for a limit: partition busy may start 1 intent in 600 s (INTENT_QUEUE_RATE_LIMIT_PER_PERIOD)."
    with serving(replace(api.dependencies, start_limit=StartLimit(1, 600))) as limited:
        page.open(limited.url)
        assert page.one("#active", limit).text.count(limit) == 1
        page.open(f"{limited.url}/#/runs/{held.id}")
        page.one("#progress", limit)
        page.driver.get("about:blank")


def test_the_plan_shows_the_prepare_command_and_what_it_may_reach(page: Browser, api: Api) -> None:
    prepare = "make deps \N{RIGHT-TO-LEFT OVERRIDE}# offline"
    open_run(page, api, Waiting(api.dependencies, setup={"prepare": prepare, "lockFiles": ["a.txt"]}))
    shown = page.one("#execution").text
    assert "Prepare command" in shown
    assert "make deps" in shown
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown
    assert "files a.txt, provider mock, network off, time limit 600000 ms" in shown


def test_gates_are_found_and_decided_together(page: Browser, api: Api) -> None:
    wanted = [Waiting(api.dependencies, goal=f"Tidy the basket {number}") for number in range(2)]
    other = Waiting(api.dependencies)
    page.open(api.url)
    page.one("h1", "3 waiting")
    page.type("#filters input[type=search]", "basket")
    page.until(lambda: len(page.driver.find_elements("css selector", "#gates li")) == 2)
    for box in page.driver.find_elements("css selector", "#gates input"):
        box.click()
    page.one("#batch h3", "2 selected")
    be(page, "Ann")
    with api.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # a trigger refuses it
        connection.execute(
            "UPDATE app.human_gates SET plan_sha256 = repeat('0', 64) WHERE run_id = %s", [wanted[0].run_id]
        )
    page.one("#approve-all").click()
    page.one("#results", "1 recorded, 1 refused")
    assert "the plan has changed" in page.one("#results .bad").text
    assert [len(run.rows("plan_approvals")) for run in (*wanted, other)] == [0, 1, 0]
    assert page.driver.current_url.endswith("#/?search=basket")
    assert page.complaints() == []


def test_an_intent_is_submitted_and_an_operator_cancels_its_run(page: Browser, api: Api) -> None:
    page.open(f"{api.url}/#/new")
    page.labelled("Goal").send_keys("Tidy the basket")
    page.labelled("Path of a pasted file").send_keys("shop/cart.py")
    page.labelled("Its content").send_keys("total = 1\n")
    page.one("#drop button", "Add the pasted file").click()
    page.one("#files", "shop/cart.py (10 characters)")
    page.one("#show-copies").click()
    assert "sisu intent submit - --url" in page.one("#copies").text
    copied = page.one("#copies pre").text
    assert '"shop/cart.py": "total = 1\\n"' in copied
    page.labelled("Folder").send_keys("../cart")
    page.labelled("Branch, tag or commit").send_keys("main")
    page.one("#submit").click()
    # A refusal is shown at the field that its pointer names.
    page.one("#drop .fault", "either repo or files")
    assert page.driver.execute_script("return document.activeElement.closest('[data-pointer]').id") == "files"
    page.complaints()  # the browser's own line about the refusal
    for name in ("Folder", "Branch, tag or commit"):
        page.type(f"#{page.labelled(name).get_attribute('id')}", "")
    page.labelled("Max fanout").send_keys("3")
    assert page.labelled("Max SBX minutes").get_attribute("required")
    page.labelled("Max fanout").clear()
    page.one("#submit").click()
    page.one("#operations")
    (run,) = api.get("/runs").json()["runs"]
    assert page.driver.current_url.endswith(f"#/runs/{run['runId']}")
    operator = page.labelled("Operator's name")
    operator.clear()
    operator.send_keys("olga")
    page.labelled("Reason of the operator").send_keys("not needed")
    page.one("#cancel").click()
    page.one("#progress", "canceled by olga: not needed")
    assert api.get(f"/runs/{run['runId']}").json()["status"] == "canceled"
    page.open(f"{api.url}/#/history")
    page.one("tbody", "not needed")
    assert page.faults() == []
    assert page.complaints() == []
