"""The history of all runs: filters, pages and files."""

import csv
import io
from typing import Any

import pytest

from sisu_pipeline.api.routes.review import history_routes
from sisu_pipeline.contracts.gate import Decision
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting


def events(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = api.client.get("/history", params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def test_pages_hold_every_change_of_every_run_once_the_newest_first(api: Api) -> None:
    runs = [Waiting(api.dependencies) for _ in range(2)]
    runs[0].say(Decision.REJECTED)
    everything = events(api)
    paged: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not paged:
        page = api.client.get("/history", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        paged += page["events"]
        cursor = page["nextCursor"]
    assert paged == everything
    assert sorted(each["at"] for each in paged) == [each["at"] for each in reversed(paged)]
    for run in runs:
        own = api.get(f"/runs/{run.run_id}/history").json()["events"]
        listed = [each for each in paged if each["runId"] == run.run_id]
        assert len(listed) == len(own) > 0


def test_filters(api: Api) -> None:
    basket = Waiting(api.dependencies, goal="Tidy the basket", request={"tenantId": "acme"})
    other = Waiting(api.dependencies)
    other.say(Decision.REJECTED)
    assert {each["runId"] for each in events(api, search="basket")} == {basket.run_id}
    assert {each["runId"] for each in events(api, tenant="acme")} == {basket.run_id}
    assert {each["runId"] for each in events(api, run=other.id)} == {other.run_id}
    assert {each["event"] for each in events(api, person="po")} == {"reject", "rejected"}
    (rejected,) = events(api, event="rejected")
    assert (rejected["person"], rejected["goal"]) == ("po", "Make the tests pass")
    assert events(api, since=rejected["at"], until=rejected["at"]) == []
    assert events(api, since="2099-01-01T00:00:00Z") == []
    assert len(events(api, until="2099-01-01T00:00:00Z")) == len(events(api))


def test_a_file_holds_every_change_and_no_formula(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_routes, "_PAGE", 2)
    Waiting(api.dependencies, goal='=HYPERLINK("http://x"),"a"\nb')
    everything = events(api)
    assert len(everything) > 2
    table = api.get("/history/export?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="history.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [row["event"] for row in rows] == [each["event"] for each in everything]
    assert rows[0]["goal"] == "'" + everything[0]["goal"]
    assert api.get("/history/export?format=json").json() == everything
    assert api.get("/history/export?format=json&person=nobody").json() == []
    assert api.get("/history/export?person=nobody").text.splitlines() == [
        "at,event,person,channel,reason,planSha256,runId,workflowId,goal,tenantId"
    ]


@pytest.mark.parametrize(
    "query", ["cursor=e30", "cursor=a", "since=2030-01-01", "run=x", "event=A", "limit=0", "person="]
)
def test_a_malformed_query_is_a_400(api: Api, query: str) -> None:
    answer = api.get(f"/history?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert api.get("/history/export?format=xml").status_code == 400
