"""What is cut, by whom it was said and how often; and how a breach names its cut."""

from pathlib import Path

from sisu_pipeline.proof.chaos.connection_cuts import Cutting, Planned, draw
from sisu_pipeline.proof.chaos.scenarios import Plot
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, Statement

OFTEN = Statement("daemon", "SELECT ?")
ONCE = Statement("daemon", "INSERT INTO runs VALUES (...)")
WORKER = Statement("intent_worker", "COMMIT of UPDATE app.runs SET status = $?")
HEARD = {Plot.APPROVED: {OFTEN: 20, ONCE: 2, WORKER: 8}, Plot.FAILS: {ONCE: 2, WORKER: 1}}


def test_a_statement_is_cut_before_and_after_its_first_times_and_its_last() -> None:
    cuts = [planned.cut for planned in draw(HEARD, None, 1) if planned.cut.statement == OFTEN]
    assert [(cut.occurrence, cut.moment) for cut in cuts] == [(at, m) for at in (1, 2, 3, 10) for m in Moment]


def test_a_worker_is_cut_off_in_every_kind_of_life_others_in_the_first() -> None:
    every = draw(HEARD, None, 1)
    assert {planned.plot for planned in every if planned.cut.statement == WORKER} == {Plot.APPROVED, Plot.FAILS}
    assert {planned.plot for planned in every if planned.cut.statement == ONCE} == {Plot.APPROVED}
    assert len(every) == 8 + 2 + 8 + 2


def test_the_seed_draws_some_of_them() -> None:
    every = draw(HEARD, None, 1)
    some = draw(HEARD, 5, 1)
    assert len(set(some)) == 5
    assert set(some) < set(every)
    assert draw(HEARD, 5, 1) == some
    assert draw(HEARD, 5, 2) != some
    assert draw(HEARD, 1000, 1) == every


def test_a_breach_names_the_cut_it_comes_from() -> None:
    cutting = Cutting(1, Path("/nowhere"))
    cutting.planned[7] = Planned(Plot.APPROVED, Cut(ONCE, 2, Moment.AFTER))
    cutting.met.add(7)
    found = {"breach": "wrong", "intent": "7 (approved) ih_abc", "detail": "the run is failed, not succeeded"}
    stray = {"breach": "duplicated", "intent": "ih_def", "detail": "a run that nobody asked for"}
    cutting.verdict = {"passed": False, "violations": [found, stray]}
    report = cutting.report()
    assert not report["passed"]
    assert report["breaches"] == [
        found | {"statement": str(ONCE), "moment": "after the server has done it", "occurrence": 2},
        stray,
    ]
    assert report["made_by_component"] == {"daemon": 1}


def test_nothing_cut_is_nothing_shown() -> None:
    cutting = Cutting(1, Path("/nowhere"), verdict={"passed": True, "violations": []})
    assert not cutting.report()["passed"]
    cutting.planned[0] = Planned(Plot.APPROVED, Cut(ONCE, 1, Moment.BEFORE))
    cutting.met.add(0)
    assert cutting.report()["passed"]
    cutting.error = "interrupted"
    assert not cutting.report()["passed"]
