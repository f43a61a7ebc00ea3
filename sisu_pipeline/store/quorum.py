"""Who must agree to a plan, by its recipe: N of M, no self-approval."""

from dataclasses import dataclass

from resources.database import Connection, Row
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.errors import DecisionForbidden
from sql import query


@dataclass(frozen=True)
class Rules:
    """A recipe's rules for one run; no `approvers` means every approver, no `submitters` that nobody knows them."""

    required: int
    approvers: frozenset[str] | None
    self_approval: bool
    submitters: frozenset[str]

    def check(self, person: str, wanted: Decision) -> None:
        """Raises DecisionForbidden when this person may not decide so."""
        if self.approvers is not None and person not in self.approvers:
            raise DecisionForbidden(f"{person} is none of this recipe's approvers")
        if self.self_approval or wanted is Decision.REJECTED:
            return
        if not self.submitters:
            # Fail closed: whoever approves might be the one who submitted.
            raise DecisionForbidden("this recipe forbids self-approval, and nobody knows who submitted: use tokens")
        if person in self.submitters:
            raise DecisionForbidden(f"{person} submitted this: this recipe wants somebody else to approve")


def rules(connection: Connection, run_id: str) -> Rules:
    """The rules of a run's recipe."""
    row = connection.execute(query("gates.rules"), {"run_id": run_id}).fetchone()
    assert row is not None, "a run has a recipe and an intent"
    return of_row(row)


def of_row(row: Row) -> Rules:
    """The rules from the columns of `gates.rules`."""
    approvers = None if row["approvers"] is None else frozenset(row["approvers"])
    return Rules(row["approvals_required"], approvers, row["self_approval"], frozenset(row["submitters"]))
