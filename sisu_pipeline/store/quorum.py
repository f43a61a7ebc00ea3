"""A recipe's rules for approvals: how many, by whom, and whether submitters may approve."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.errors import DecisionForbidden
from sisu_pipeline.store.records import fetch_one


@dataclass(frozen=True)
class Rules:
    """A recipe's rules for one run. `approvers` None admits every approver; `submitters` is empty if unknown."""

    required: int
    approvers: list[str] | None
    self_approval: bool
    submitters: list[str]

    def check(self, person: str, wanted: Decision) -> None:
        """Raise DecisionForbidden when this person may not make this decision."""
        if self.approvers is not None and person not in self.approvers:
            raise DecisionForbidden(f"{person} is not an approver for this recipe")
        if self.self_approval or wanted is Decision.REJECTED:
            return
        if not self.submitters:
            # Fail closed: the approver could be the submitter.
            raise DecisionForbidden(
                "this recipe forbids self-approval, and the submitter is unknown: submit and approve with tokens"
            )
        if person in self.submitters:
            raise DecisionForbidden(
                f"{person} submitted this intent: another person must approve it, by its recipe"
            )


def rules(connection: Connection, run_id: str) -> Rules:
    """The rules of a run's recipe."""
    return fetch_one(connection, "gates.rules", Rules, {"run_id": run_id})
