"""Approval policies: the deployment's rules for submitting and approving, and the automatic approval of plans."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.person_name import PersonName

DEFAULT_POLICY = "default"
LONGEST_DEADLINE_S = 30 * 86_400

PolicyId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_Text = Annotated[str, Field(min_length=1, max_length=1024)]


class People(Contract):
    """People, by their names and by the groups of their tokens."""

    people: list[PersonName] = Field(default=[], max_length=1000)
    """Names of people, which are the owners of tokens."""
    groups: list[GroupName] = Field(default=[], max_length=100)
    """Groups that tokens are created with."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if not self.people and not self.groups:
            raise ValueError("name at least one person or group")
        for names in (self.people, self.groups):
            if len(set(names)) < len(names):
                raise ValueError("name each person and each group once")
        return self

    def includes(self, person: str, groups: frozenset[str]) -> bool:
        """Whether a person with these groups is among them."""
        return person in self.people or not groups.isdisjoint(self.groups)


class AutomaticApproval(Contract):
    """Plans of low risk, which the policy itself approves. Every condition must hold.

    In addition the plan has at least one test, no task may use the network, and nothing is deleted or asked.
    """

    paths: list[_Text] = Field(min_length=1, max_length=100)
    """Patterns of paths that may change; `*` matches any characters, also `/`."""
    commands: list[_Text] = Field(min_length=1, max_length=100)
    """Commands that tasks may execute, without the names of tests."""
    max_bytes: int = Field(ge=0, le=10_000_000)
    """Most bytes of all changed files together, after the change."""
    max_tasks: int = Field(ge=1, le=10_000)
    """Most tasks of the plan."""


class ApprovalRules(Contract):
    """The rules of one run: those of its policy, as the constraints of its intent tighten them."""

    approvals: int = Field(default=1, ge=1, le=100)
    """How many people must approve a plan."""
    approvers: People | None = None
    """Who may approve and reject; by default every approver."""
    named_approvers: list[PersonName] | None = None
    """Of these people, those whom the intent names."""
    self_approval: bool = True
    """Whether the people who submitted, started or edited a plan may approve it."""
    requester_approval: bool | None = None
    """Whether people who requested changes to a plan may approve it; true without a value."""
    deadline_may_approve: bool = False
    """Whether an intent may declare approval as the outcome of its deadline."""
    longest_deadline_s: int = Field(default=LONGEST_DEADLINE_S, ge=1, le=LONGEST_DEADLINE_S)
    """The most seconds a gate may wait."""
    automatic_approval: AutomaticApproval | None = None

    @property
    def is_one_of_anybody(self) -> bool:
        """True when one approval by any person suffices."""
        anybody = self.approvers is None and self.named_approvers is None
        return self.approvals == 1 and anybody and self.self_approval and self.requester_approval is not False


class ApprovalPolicy(Contract):
    """A policy, as `sisu policy apply` reads it. Its versions are immutable; the newest one counts for new runs."""

    id: PolicyId
    """Id of the policy, which recipes name."""
    approvals: int = Field(default=1, ge=1, le=100)
    """Number of people who must approve a plan."""
    approvers: People | None = None
    """People who may approve and reject plans; by default every approver."""
    self_approval: bool = True
    """Whether the people who submitted, started or edited a plan may approve it."""
    requester_approval: bool | None = None
    """Whether people who requested changes to a plan may approve it; by default they may."""
    deadline_may_approve: bool = False
    """Whether an intent may declare approval as the outcome of its deadline."""
    submitters: People | None = None
    """People who may start runs of the recipe; by default every submitter."""
    longest_deadline_s: int = Field(default=LONGEST_DEADLINE_S, ge=1, le=LONGEST_DEADLINE_S)
    """Most seconds that a gate may wait, up to 30 days."""
    automatic_approval: AutomaticApproval | None = None
    """Plans of low risk that the policy approves itself; by default none."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.approvers is not None and not self.approvers.groups:
            count = len(self.approvers.people)
            if count < self.approvals:
                raise ValueError(
                    f"approvals must be at most the number of approvers, {count} (got {self.approvals})"
                )
        if self.deadline_may_approve and not self.rules.is_one_of_anybody:
            raise ValueError("a deadline may approve only where one approval by any person suffices")
        return self

    @property
    def rules(self) -> ApprovalRules:
        """The rules of a run whose intent does not tighten them."""
        return ApprovalRules(
            approvals=self.approvals,
            approvers=self.approvers,
            self_approval=self.self_approval,
            requester_approval=self.requester_approval,
            deadline_may_approve=self.deadline_may_approve,
            longest_deadline_s=self.longest_deadline_s,
            automatic_approval=self.automatic_approval,
        )
