"""The planner port: a prompt goes in, a structured answer comes out."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.domain.operator_errors import OperatorError

Agent = Literal["plan", "build"]


class PlannerUnavailable(OperatorError):
    """The planner cannot be used; the message tells the operator what to do."""

    code = "planner_unavailable"


@dataclass(frozen=True)
class Question:
    """What a step asks: the agent's role, the exact prompt, and the intent it is about."""

    agent: Agent
    prompt: str
    intent: Intent


class Planner(Protocol):
    """Answers questions. The same question gets the same answer: a step may ask again after a crash."""

    name: str

    def answer(self, question: Question) -> PlannerOutput:
        """The structured answer. Raises PlannerUnavailable when no answer can be had."""
        ...
