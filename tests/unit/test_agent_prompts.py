"""Prompts for planners: a round repeats plan and comment, and a model without an agent gets its own task."""

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Change
from sisu_pipeline.steps.agent_prompts import LONGEST_DIFF, chat_prompt, plan_prompt, revision_prompt
from tests.builders import an_intent

INTENT = an_intent("Greet by name", inputs={"files": {"greet.py": "old\n"}, "ticket": "T-1"})
PLAN = Plan.from_json(
    {
        "goal": INTENT.goal,
        "design": ["greet() takes a name"],
        "files": ["greet.py"],
        "risks": [],
        "tests": ["test_greet"],
        "testCommand": "python3 test_greet.py",
    }
)
CHANGE = Change("greet.py", FileState(b"old\n"), FileState(b"new\n"))


def test_a_round_states_the_goal_the_plan_its_difference_and_the_comment() -> None:
    prompt = revision_prompt(INTENT, PLAN, [CHANGE], "Keep the old name")
    assert prompt.startswith('Goal: Greet by name\nInputs: {"ticket":"T-1"}\n')
    for part in ("- greet() takes a name", "Risks: none", "Command: python3 test_greet.py", "-old\n+new\n"):
        assert part in prompt
    assert "requests these changes to it:\nKeep the old name\n" in prompt


def test_the_connectors_of_an_intent_reach_its_planner() -> None:
    intent = an_intent("Greet by name", connectors=["github", "jira"])
    assert 'Connectors: ["github","jira"]' in plan_prompt(intent)
    assert "Connectors" not in plan_prompt(an_intent("Greet by name"))


@given(st.text(min_size=1))
def test_a_model_without_an_agent_gets_the_round_with_its_own_task(comment: str) -> None:
    prompt = revision_prompt(INTENT, PLAN, [CHANGE], comment)
    chat = chat_prompt(prompt)
    task = chat_prompt(plan_prompt(INTENT)).rpartition("\n\n")[2]
    assert chat.endswith(task) and comment in chat and "submit_plan" not in chat.replace(comment, "")


def test_a_long_difference_is_shortened_and_says_so() -> None:
    long = Change("greet.py", FileState(b""), FileState(b"x" * 2 * LONGEST_DIFF))
    prompt = revision_prompt(INTENT, PLAN, [long], "Shorter")
    assert len(prompt) < LONGEST_DIFF + 5_000
    assert "characters, is left out.)" in prompt and "\nShorter\n" in prompt
