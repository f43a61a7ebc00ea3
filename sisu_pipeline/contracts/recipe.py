"""Recipes: the caps, the network, the approval policy and the push of runs."""

from typing import Annotated

from pydantic import Field, field_validator

from sisu_pipeline.contracts.approval_policy import DEFAULT_POLICY, PolicyId
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.field_errors import shown

RecipeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
DEFAULT_CHANGE_REQUESTS = 3
_Cap = Annotated[int, Field(ge=1, le=2**31 - 1)]


ORIGIN = "origin"
"""The remote of a push that means the repository which the run starts from."""


class PushTarget(Contract):
    """Where the branches of succeeded runs are pushed."""

    remote: str = Field(min_length=1, max_length=2000)
    """`origin` for the repository that the run starts from, an https address, or an absolute folder."""

    @field_validator("remote")
    @classmethod
    def _is_a_remote(cls, remote: str) -> str:
        if remote != ORIGIN and not remote.startswith(("https://", "/")):
            raise ValueError(
                f"push.remote must be 'origin', an address that starts with https:// or an absolute folder "
                f"(got {shown(remote)})"
            )
        return remote


class RecipeDefinition(Contract):
    """A recipe, as `sisu recipe apply` reads it. Its versions are immutable; the newest one counts for new runs."""

    name: RecipeName
    """Name of the recipe, which run requests name."""
    max_concurrency: _Cap
    """Most concurrency that a run request may announce."""
    max_steps: _Cap
    """Most steps that a run request may announce."""
    max_sandbox_minutes: _Cap
    """Most sandbox minutes that a run request may announce."""
    net: bool | None = None
    """Whether tasks may use the network; by default the deployment decides (`SBX_DEFAULT_NET`)."""
    max_change_requests: Annotated[int, Field(ge=0, le=20)] = DEFAULT_CHANGE_REQUESTS
    """How often people may request changes to the plan of a run; 0 for never."""
    policy: PolicyId = DEFAULT_POLICY
    """Id of the policy whose newest version a run of this recipe starts with."""
    push: PushTarget | None = None
    """Where the branch with the result is pushed once a run has succeeded; by default nowhere."""
