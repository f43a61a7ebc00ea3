"""Quorums: whose approvals count, evaluated at the moment of a decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.approval_policy import ApprovalRules, People
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain.approval.eligibility import Eligibility, Standing
from sisu_pipeline.domain.errors import DecisionForbidden
from sisu_pipeline.store.records import fetch_all, fetch_one


@dataclass(frozen=True)
class Vote:
    """A person's first approval of a plan."""

    actor: str
    created_at: datetime


@dataclass(frozen=True)
class RecordedVote:
    """An approval that a decision counts; `channel` and `record` are None for one in release 0.2.0."""

    person: str
    channel: Channel | None
    plan_sha256: str
    voted_at: datetime
    record: str | None


@dataclass(frozen=True)
class Tally:
    """The approvals of a run's current plan that count now, the first one first, of the required number."""

    votes: list[Vote]
    required: int

    @property
    def given(self) -> int:
        """The number of approvals that count."""
        return len(self.votes)

    @property
    def people(self) -> list[str]:
        """The people whose approvals count, each once."""
        return [vote.actor for vote in self.votes]

    @property
    def is_complete(self) -> bool:
        """True when enough people have approved."""
        return self.given >= self.required


@dataclass(frozen=True)
class _StoredRules:
    run_id: str
    rules: dict[str, Any]
    policy_name: str
    approvers_now: dict[str, Any] | None
    submitters: list[str]
    editors: list[str]
    requesters: list[str]
    are_authors_known: bool | None
    needs_token: bool

    def read(self) -> Eligibility:
        return Eligibility(
            rules=ApprovalRules.from_json(self.rules),
            policy_name=self.policy_name,
            approvers_now=None if self.approvers_now is None else People.from_json(self.approvers_now),
            submitters=frozenset(self.submitters),
            editors=frozenset(self.editors),
            requesters=frozenset(self.requesters),
            are_authors_known=bool(self.are_authors_known),
            needs_token=self.needs_token,
        )


@dataclass(frozen=True)
class _StoredVote:
    run_id: str
    actor: str
    created_at: datetime
    is_approver: bool
    groups: list[str]


def eligibility(connection: Connection, run_id: str) -> Eligibility:
    """The rules of a run for approvers, as they are now."""
    return fetch_one(connection, "quorum.rules", _StoredRules, {"run_ids": [run_id]}).read()


def check_person(connection: Connection, run_id: str, own: Standing, *, is_approval: bool) -> None:
    """Raise DecisionForbidden when a person may not decide, or not approve, by the rules as they are now."""
    rules = eligibility(connection, run_id)
    refusal = rules.refusal_to_approve(own) if is_approval else rules.refusal_to_decide(own)
    if refusal is not None:
        raise DecisionForbidden(refusal)


def recorded_votes(connection: Connection, run_id: str) -> list[RecordedVote]:
    """The approvals that the decision about a run's plan counts, the first one first."""
    return fetch_all(connection, "quorum.recorded_votes", RecordedVote, {"run_id": run_id})


def tally(connection: Connection, run_id: str) -> Tally:
    """The approvals of a run's current plan that count now."""
    return tallies(connection, [run_id])[run_id]


def tallies(connection: Connection, run_ids: Sequence[str]) -> dict[str, Tally]:
    """The approvals that count now, by run."""
    key = {"run_ids": list(run_ids)}
    votes = fetch_all(connection, "quorum.votes", _StoredVote, key)
    counted: dict[str, Tally] = {}
    for stored in fetch_all(connection, "quorum.rules", _StoredRules, key):
        rules = stored.read()
        given = [vote for vote in votes if vote.run_id == stored.run_id and _counts(rules, vote)]
        counted[stored.run_id] = Tally([Vote(vote.actor, vote.created_at) for vote in given], rules.rules.approvals)
    return counted


def _counts(rules: Eligibility, vote: _StoredVote) -> bool:
    standing = Standing(vote.actor, vote.is_approver, frozenset(vote.groups))
    return rules.refusal_to_approve(standing) is None
