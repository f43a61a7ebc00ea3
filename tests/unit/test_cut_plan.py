"""The plan of `sisu lab cuts`: which statements are cut, and how a violation names its cut."""

from pathlib import Path

from sisu_pipeline.proof.chaos.connection_cuts import CutsRun
from sisu_pipeline.proof.chaos.cut_plan import PlannedCut, draw
from sisu_pipeline.proof.chaos.scenarios import ScenarioKind
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, Statement

OFTEN = Statement("daemon", "SELECT ?")
ONCE = Statement("daemon", "INSERT INTO runs VALUES (...)")
WORKER = Statement("intent_worker", "COMMIT of UPDATE app.runs SET status = $?")
COUNTS = {ScenarioKind.APPROVED: {OFTEN: 20, ONCE: 2, WORKER: 8}, ScenarioKind.FAILS: {ONCE: 2, WORKER: 1}}


def test_a_statement_is_cut_before_and_after_its_first_and_last_occurrences() -> None:
    cuts = [planned.cut for planned in draw(COUNTS, None, 1) if planned.cut.statement == OFTEN]
    assert [(cut.occurrence, cut.moment) for cut in cuts] == [(at, m) for at in (1, 2, 3, 10) for m in Moment]


def test_statements_of_workers_are_cut_in_every_kind_of_intent_others_in_the_first() -> None:
    every = draw(COUNTS, None, 1)
    workers = {planned.kind for planned in every if planned.cut.statement == WORKER}
    assert workers == {ScenarioKind.APPROVED, ScenarioKind.FAILS}
    assert {planned.kind for planned in every if planned.cut.statement == ONCE} == {ScenarioKind.APPROVED}
    assert len(every) == 8 + 2 + 8 + 2


def test_the_seed_draws_a_sample() -> None:
    every = draw(COUNTS, None, 1)
    some = draw(COUNTS, 5, 1)
    assert len(set(some)) == 5
    assert set(some) < set(every)
    assert draw(COUNTS, 5, 1) == some
    assert draw(COUNTS, 5, 2) != some
    assert draw(COUNTS, 1000, 1) == every


def test_a_violation_names_the_cut_that_caused_it() -> None:
    cuts = CutsRun(1, Path("/nowhere"))
    cuts.planned[7] = PlannedCut(ScenarioKind.APPROVED, Cut(ONCE, 2, Moment.AFTER))
    cuts.made.add(7)
    found = {"breach": "wrong", "intent": "7 (approved) ih_abc", "detail": "expected status succeeded, got failed"}
    stray = {"breach": "duplicated", "intent": "ih_def", "detail": "a run that no client requested"}
    cuts.verdict = {"passed": False, "violations": [found, stray]}
    report = cuts.report()
    assert not report["passed"]
    assert report["breaches"] == [
        found | {"statement": str(ONCE), "moment": "after the server has done it", "occurrence": 2},
        stray,
    ]
    assert report["made_by_component"] == {"daemon": 1}


def test_a_run_without_a_single_cut_does_not_pass() -> None:
    cuts = CutsRun(1, Path("/nowhere"), verdict={"passed": True, "violations": []})
    assert not cuts.report()["passed"]
    cuts.planned[0] = PlannedCut(ScenarioKind.APPROVED, Cut(ONCE, 1, Moment.BEFORE))
    cuts.made.add(0)
    assert cuts.report()["passed"]
    cuts.error = "interrupted"
    assert not cuts.report()["passed"]
