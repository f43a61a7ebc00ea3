"""The planner port: a prompt and its structured answer."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.domain.operator_errors import OperatorError

Agent = Literal["plan", "build"]


class PlannerUnavailable(OperatorError):
    """The planner cannot be used. The message contains what the operator can do."""

    code = "planner_unavailable"


@dataclass(frozen=True)
class Question:
    """A question of a step: the agent's role, the exact prompt, and the intent."""

    agent: Agent
    prompt: str
    intent: Intent


class Planner(Protocol):
    """A planner. Equal questions must have equal answers: a step repeats its question after a crash."""

    name: str

    def answer(self, question: Question) -> PlannerOutput:
        """The structured answer. Raises PlannerUnavailable if there is no answer."""
        ...

    def recorded(self, question: Question) -> PlannerOutput | None:
        """The answer that was recorded for a question before; None if none was. Never asks the planner."""
        ...
