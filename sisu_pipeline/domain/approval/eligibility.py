"""Whose approval of a plan counts: decided anew for every person whenever a quorum is evaluated."""

from dataclasses import dataclass

from sisu_pipeline.contracts.approval_policy import ApprovalRules, People


@dataclass(frozen=True)
class Standing:
    """What the tokens of a person allow at this moment: the role of an approver, and groups."""

    person: str
    is_approver: bool
    groups: frozenset[str]


@dataclass(frozen=True)
class Eligibility:
    """The rules of a run for approvers.

    `approvers_now` are those of the policy's newest version: a person who is missing there has lost the right. The
    authors are the submitters of the intent and the run, and the editors of the plan. People who requested changes,
    which an agent made, are no authors.
    """

    rules: ApprovalRules
    policy_name: str
    approvers_now: People | None
    submitters: frozenset[str]
    editors: frozenset[str]
    requesters: frozenset[str]
    are_authors_known: bool
    needs_token: bool

    def refusal_to_decide(self, standing: Standing) -> str | None:
        """Why a person may neither approve nor reject; None when they may."""
        person, rules = standing.person, self.rules
        if rules.approvers is not None and not rules.approvers.includes(person, standing.groups):
            return f"{person} is not an approver of policy {self.policy_name}: another person must decide"
        now = None if rules.approvers is None else self.approvers_now
        if now is not None and not now.includes(person, standing.groups):
            return f"{person} is no longer an approver of policy {self.policy_name}: another person must decide"
        if rules.named_approvers is not None and person not in rules.named_approvers:
            return f"{person} is not among the approvers that the intent names: another person must decide"
        return None

    def refusal_to_approve(self, standing: Standing) -> str | None:
        """Why the approval of a person does not count; None when it does."""
        person = standing.person
        if self.needs_token and not standing.is_approver:
            return f"{person} has no token with the role approver: another person must approve the plan"
        refusal = self.refusal_to_decide(standing)
        if refusal is not None:
            return refusal
        if self.rules.requester_approval is False and person in self.requesters:
            policy = self.policy_name
            return f"{person} requested changes to this plan: another person must approve it, by policy {policy}"
        return self._refusal_to_author(person)

    def _refusal_to_author(self, person: str) -> str | None:
        if self.rules.self_approval:
            return None
        if not self.are_authors_known:
            # Fail closed: the approver could be the submitter.
            return (
                f"policy {self.policy_name} or the intent forbids self-approval, and the submitter is unknown: "
                "submit, start and approve with tokens"
            )
        if person in self.submitters:
            return f"{person} submitted this intent: another person must approve it, by policy {self.policy_name}"
        if person in self.editors:
            return f"{person} edited this plan: another person must approve it, by policy {self.policy_name}"
        return None
