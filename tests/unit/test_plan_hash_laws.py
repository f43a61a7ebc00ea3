"""Laws of `planSha256` over whole plans: any other byte of any section, or any other member, is another plan."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from sisu_pipeline.contracts.planned_work import CompletePlan, PinnedVersion, PlanPush, TemplateReference
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.complete_plan import PlanTerms, SealedPlan, TaskTerms, seal

SECTIONS = ("changes", "tasks", "recipe", "policy", "base", "push")
"""The sections of a complete plan; those of a recipe without a push lack `push`."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = st.text("abc/é ", min_size=1, max_size=6)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
versions = st.builds(PinnedVersion, id=names, version=st.integers(1, 9), sha256=hashes)
templates = st.builds(TemplateReference, id=st.none() | names, key=names)
task_terms = st.builds(
    TaskTerms,
    provider=st.sampled_from(["mock", "local", "e2b"]),
    environment=names,
    template=templates,
    net=st.booleans(),
    timeout_ms=st.integers(1, 10**9),
    cpu=st.integers(1, 64),
    mem_mb=st.sampled_from([512, 1024, 2048]),
)
pushes = st.none() | st.builds(PlanPush, remote=names, branch=names)
terms = st.builds(PlanTerms, task_terms, versions, versions, push=pushes)
paths = st.sampled_from(["a", "b", "c/d", "é"])
modes = st.sampled_from(["100644", "100755"])
files = st.dictionaries(
    paths, st.builds(FileState, st.binary(max_size=12) | texts.map(str.encode), modes), max_size=3
)
plans = st.builds(
    lambda tests, command, patches: Plan.from_json(
        {
            **{key: [] for key in ("design", "files", "risks")},
            "goal": "g",
            "tests": tests,
            "testCommand": command,
            "patchPlan": [{"targetPath": path, "postimageContent": text, "diffText": ""} for path, text in patches],
        }
    ),
    st.lists(texts.filter(str.strip), max_size=3),
    texts.filter(str.strip),
    st.lists(st.tuples(paths, texts), max_size=3, unique_by=lambda change: change[0]),
)
sealed_plans = st.builds(seal, plans, files, terms)
characters = st.characters(exclude_categories=["Cs"])


@given(sealed_plans, st.sampled_from(SECTIONS), st.data())
def test_any_other_byte_of_any_section_is_another_plan(sealed: SealedPlan, name: str, data: st.DataObject) -> None:
    section: str | None = getattr(sealed, name)
    assume(section is not None)
    assert section is not None
    at = data.draw(st.integers(0, len(section) - 1), label="position")
    other = data.draw(characters, label="character")
    change = data.draw(st.sampled_from(["replaced", "inserted", "removed"]), label="change")
    after = section[at + (change != "inserted") :]
    changed = section[:at] + ("" if change == "removed" else other) + after
    assume(changed != section)
    altered = replace(sealed, **{name: changed})
    assert altered.sha256 != sealed.sha256
    assert altered.head != sealed.head


@given(sealed_plans, sealed_plans)
def test_two_plans_have_one_hash_only_if_all_that_they_execute_is_equal(one: SealedPlan, other: SealedPlan) -> None:
    are_equal = [getattr(one, name) for name in SECTIONS] == [getattr(other, name) for name in SECTIONS]
    assert (one.sha256 == other.sha256) == are_equal


@given(sealed_plans, st.data())
def test_any_other_value_anywhere_in_the_plan_is_another_plan(sealed: SealedPlan, data: st.DataObject) -> None:
    complete = sealed.read().to_json()
    section = data.draw(st.sampled_from([name for name in SECTIONS if name in complete]), label="section")
    leaves = list(_leaves(complete[section]))
    assume(leaves)
    path = data.draw(st.sampled_from(leaves), label="member")
    content = json.loads(canonical_json(complete[section]))
    place = content
    for step in path[:-1]:
        place = place[step]
    other = data.draw(st.none() | st.booleans() | st.integers(0, 9) | texts, label="value")
    assume(canonical_json(place[path[-1]]) != canonical_json(other))
    place[path[-1]] = other
    assert replace(sealed, **{section: canonical_json(content)}).sha256 != sealed.sha256


@given(sealed_plans)
def test_the_hash_is_the_same_after_a_plan_is_read_from_its_json(sealed: SealedPlan) -> None:
    complete = json.loads(json.dumps(sealed.read().to_json()))
    read = CompletePlan.from_json(complete).to_json()
    sections = {name: canonical_json(read[name]) for name in SECTIONS if name in read}
    assert SealedPlan(**sections).sha256 == sealed.sha256


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The paths of all members that are no objects and no arrays."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, member in items:
        yield from _leaves(member, (*path, key))
