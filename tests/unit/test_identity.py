"""Every id is a function of content, and equals the original's where the design keeps it."""

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resources.planner.replay_planner import fixture_key
from sisu_pipeline.domain import identity
from sisu_pipeline.domain.canonical import same_json, sha256_hex, sha256_json
from tests import json_values
from tests.builders import an_intent

WORKFLOW = "it_0123456789abcdef"
RUN = "run_42db556554a7e6f9ec58fc38b780e8f0"


def test_the_intent_id_is_the_hash_of_goal_inputs_and_constraints() -> None:
    intent = an_intent("g", inputs={"ticket": "T-1"}, constraints={"stepLibrary": {"primitives": ["Collect"]}})
    assert identity.intent_id(intent) == "ih_d24cd2908d575637d7c11b9a4c7cfe5f0c7cd06359d372ed12bbff85ab10070f"


def test_connectors_belong_to_the_id_and_absent_is_the_same_as_null() -> None:
    bare = an_intent()
    assert identity.intent_id(an_intent(connectors=None)) == identity.intent_id(bare)
    assert identity.intent_id(an_intent(connectors=[])) != identity.intent_id(bare)


def test_a_null_inside_inputs_is_content() -> None:
    assert identity.intent_id(an_intent(inputs={"a": None})) != identity.intent_id(an_intent(inputs={}))


def test_the_run_id_comes_from_the_workflow_id_alone() -> None:
    assert identity.run_id(WORKFLOW) == RUN


@pytest.mark.parametrize(
    ("step", "purpose", "expected"),
    [
        ("ApplyPatchST", "approve-plan", "approve-plan-c41e0986be3be693"),
        ("CompileST", "ask-user", "ask-user-50b9cb68c33dd479"),
        ("ApplyPatchST", "parallel-1", "parallel-1-5aaec1ed66aef5e0"),
    ],
)
def test_gate_keys_are_the_originals(step: str, purpose: str, expected: str) -> None:
    assert identity.gate_key(RUN, step, purpose) == expected


def test_a_long_purpose_is_cut_and_cleaned_to_fit_the_gate_column() -> None:
    key = identity.gate_key(RUN, "CompileST", "Ask the user, please: now?")
    assert re.fullmatch("ask-the-user--pl-[0-9a-f]{16}", key)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"cmd": "pnpm test"}, "48f9587386298e6563633a068c3d09f6afd3670ea3320e4014b47d54a24fd5a3"),
        (
            {"cmd": "echo running", "test": "test0.ts"},
            "119f85a49403a27714048a49fa7eadfd29eb8da9b255cfc11668572e0e34a0b9",
        ),
    ],
)
def test_task_keys_are_the_originals(request_: dict[str, str], expected: str) -> None:
    cold = {"templateKey": "env:local-node-24", "templateRef": "local-node-24"}
    assert identity.task_key(WORKFLOW, RUN, {**request_, **cold}) == expected


def test_the_cold_deps_hash_is_the_originals() -> None:
    expected = "844500c91f0c93a931c6b2c73f0c5f5defa6f449bc9ea04564c76c02ce399e02"
    assert sha256_json({"envRef": "local-node-24"}) == expected


@pytest.mark.parametrize(
    ("prompt", "seed", "expected"),
    [
        ("refresh-fixture", "424242", "d932df410941de62efa98450cfed81b570ad4300718d5943828da082c0038d7b"),
        ("test", "1", "e29a90f1895022190797df19d4eaa3ff3bd39625abb9b1ab0b180cc8dc9f8202"),
    ],
)
def test_fixture_keys_are_the_originals(prompt: str, seed: str, expected: str) -> None:
    assert fixture_key(prompt, 1, seed) == expected


def test_the_first_segment_is_the_intent_itself_and_later_ones_are_numbered() -> None:
    assert [identity.segment_workflow_id("ih_x", number) for number in (1, 2, 3)] == ["ih_x", "ih_x/2", "ih_x/3"]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("", "artifact://run/run_1/step/CompileST/task//plan.json"),
        ("k", "artifact://run/run_1/step/CompileST/task/k/plan.json"),
    ],
)
def test_an_artifacts_address_says_where_it_comes_from(task: str, expected: str) -> None:
    assert identity.artifact_uri("run_1", "CompileST", task, "plan.json") == expected


@given(json_values.objects(), json_values.objects())
def test_other_inputs_are_another_intent(left: dict[str, Any], right: dict[str, Any]) -> None:
    same = identity.intent_id(an_intent(inputs=left)) == identity.intent_id(an_intent(inputs=right))
    assert same == same_json(left, right)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.text(), st.text())
def test_a_task_key_depends_on_everything_in_it(request_: dict[str, str], intent: str, run: str) -> None:
    assume(_is_text(intent + run + "".join(request_) + "".join(request_.values())))
    key = identity.task_key(intent, run, request_)
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert identity.task_key(intent + "x", run, request_) != key
    assert identity.task_key(intent, run + "x", request_) != key
    assert identity.task_key(intent, run, {**request_, "filesHash-new": "x"}) != key


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def test_the_first_question_of_a_run_has_the_key_it_had_before_there_were_rounds() -> None:
    text = f"{RUN}:CompileST:1:{'a' * 64}:{'b' * 64}"
    assert identity.op_key(RUN, "CompileST", 1, "a" * 64, "b" * 64) == "op_" + sha256_hex(text)
    keys = {identity.op_key(RUN, "CompileST", 1, "a" * 64, "b" * 64, number) for number in range(1, 5)}
    assert len(keys) == 4
