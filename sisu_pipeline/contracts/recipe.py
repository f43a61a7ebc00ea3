"""Recipes: the caps, the network and the approval policy of runs."""

from typing import Annotated

from pydantic import Field

from sisu_pipeline.contracts.approval_policy import DEFAULT_POLICY, PolicyId
from sisu_pipeline.contracts.base import Contract

RecipeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_Cap = Annotated[int, Field(ge=1, le=2**31 - 1)]


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
    policy: PolicyId = DEFAULT_POLICY
    """Id of the policy whose newest version a run of this recipe starts with."""
