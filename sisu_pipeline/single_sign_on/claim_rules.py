"""From verified claims to a person: the name, the groups, and the roles that the groups give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.contracts.person_name import checked_name

EVERYONE = "*"
"""Stands for every person who signs in, in the groups of a role."""
MAX_GROUPS = 1000


class IdentityRefused(Exception):
    """The identity is not accepted; the message states why, without any part of a token."""


@dataclass(frozen=True)
class ClaimRules:
    """Which claims hold the name and the groups, and the groups of each role."""

    name_claim: str
    groups_claim: str
    group_roles: Mapping[Role, frozenset[str]]

    def person(self, claims: Mapping[str, Any]) -> Person:
        """The person of these claims. Raises IdentityRefused for an unusable name, groups or no role at all."""
        name = self._name(claims)
        groups = self._groups(claims)
        roles = {role for role, needed in self.group_roles.items() if EVERYONE in needed or needed & groups}
        if not roles:
            raise IdentityRefused(f"{name} is in no group that gives a role here (SISU_GROUP_ROLES)")
        return Person(name, frozenset(roles), groups)

    def merged(self, claims: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Verified claims with those that only `more` has; groups are those of both. Raises IdentityRefused."""
        merged = {**more, **claims, self.groups_claim: sorted(self._groups(claims) | self._groups(more))}
        if more.get("email_verified") is False:
            merged["email_verified"] = False
        return merged

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self.name_claim)
        if not isinstance(name, str) or not name.strip():
            raise IdentityRefused(f"the identity has no claim {self.name_claim} with a name (SISU_NAME_CLAIM)")
        if self.name_claim == "email" and claims.get("email_verified") is False:
            raise IdentityRefused("the provider has not verified the email address")
        try:
            return checked_name(name)
        except ValueError as failure:
            raise IdentityRefused(str(failure)) from None

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        groups = claims.get(self.groups_claim, [])
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise IdentityRefused(f"the claim {self.groups_claim} must be a list of texts (SISU_GROUPS_CLAIM)")
        if len(groups) > MAX_GROUPS:
            raise IdentityRefused(f"the claim {self.groups_claim} lists more than {MAX_GROUPS} groups")
        # A provider cannot make a person "everyone" by a group of this name.
        return frozenset(groups) - {EVERYONE, ""}
