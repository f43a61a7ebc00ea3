"""Prompts for a coding agent, which changes files in its working directory and then submits a plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.changes.plan_changes import Change

_IN_THE_DIRECTORY = ("files", "repo", "patches")
"""Inputs that the prompt does not repeat: they are, or become, files of the working directory."""

_TASK = """\
Work in the current directory only. Read what you need, then make the change by editing the files: your edits are
the proposed change. Run checks if they help. There is no network. Do not commit, and leave no file behind that does
not belong to the change.

When the change is complete, call the submit_plan tool of the server sisu exactly once. Its arguments are the design
decisions, the paths of the affected files, the risks, the names of the tests that prove the change, and the shell
command that runs one of them. A person reads the plan and approves or rejects it with your edits. Then stop."""

_CHAT_TASK = """\
Propose the change by returning the whole content of each file that it creates or modifies, and a plan: the design
decisions, the paths of the affected files, the risks, the names of the tests that prove the change, and the shell
command that runs one of them. A person reads the plan and approves or rejects it. These are the files:"""

_REVISE = """\
The files are as they were before the proposed changes. Make the whole change again as the person requests it, and
keep what the person does not object to."""

LONGEST_DIFF = 100_000
"""Characters of the earlier changes that a prompt repeats."""

REPAIR = """\
No plan has been submitted. Finish the change if it is incomplete, then call the submit_plan tool of the server sisu
once, and stop. If an earlier call was refused, correct the arguments that its answer names."""


def plan_prompt(intent: Intent) -> str:
    """The prompt for the change and its plan; a function of the intent."""
    inputs = {name: value for name, value in intent.inputs.items() if name not in _IN_THE_DIRECTORY}
    given = [
        *_given("Inputs", inputs),
        *_given("Constraints", intent.constraints),
        *_given("Connectors", intent.connectors),
    ]
    return "\n".join([f"Goal: {intent.goal}", *given, "", _TASK])


def revision_prompt(intent: Intent, plan: Plan, changes: Sequence[Change], comment: str) -> str:
    """The prompt for a plan with the changes that a person requested; a function of its arguments."""
    return plan_prompt(intent).removesuffix(_TASK) + "\n".join(
        [
            "A plan for this goal was proposed:",
            *_listed("Design", plan.design),
            *_listed("Files", plan.files),
            *_listed("Risks", plan.risks),
            *_listed("Tests", plan.tests),
            f"Command: {plan.test_command or 'none'}",
            "",
            "Its changes:",
            _shortened("".join(change.diff for change in changes)) or "none",
            "",
            "A person read the plan and requests these changes to it:",
            comment,
            "",
            _REVISE,
            "",
            _TASK,
        ]
    )


def chat_prompt(prompt: str) -> str:
    """The same prompt for a model that cannot edit files itself."""
    return prompt.removesuffix(_TASK) + _CHAT_TASK


def _listed(name: str, items: Sequence[str]) -> list[str]:
    return [f"{name}:", *(f"- {item}" for item in items)] if items else [f"{name}: none"]


def _shortened(diff: str) -> str:
    if len(diff) <= LONGEST_DIFF:
        return diff
    return f"{diff[:LONGEST_DIFF]}\n(The rest of the changes, {len(diff) - LONGEST_DIFF} characters, is left out.)"


def _given(name: str, values: Mapping[str, Any] | Sequence[str] | None) -> list[str]:
    return [f"{name}: {canonical_json(values)}"] if values else []
